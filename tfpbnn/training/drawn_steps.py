"""Trains with optimizers that need gradients at draws of the weights.

They are told by their method `gradients`.
"""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.distribute import steps
from tfpbnn.training import optimizer_step
from tfpbnn.training.optimizer_step import inner


def draws_weights(optimizer: Any) -> bool:
    """Says whether an optimizer takes gradients at draws of the weights."""
    return hasattr(inner(optimizer), "gradients")


def train_step(
    model: Any, data: Any, modes: tuple[dict[str, bool], dict[str, bool]]
) -> dict[str, Tensor]:
    """Does Keras's training step, with gradients at draws of the weights.

    The loss that is logged is the mean over the draws; metrics are of the last.

    Args:
        model: a compiled model.
        data: a batch.
        modes: the keyword arguments that tell its `call`, and its
            `compute_loss`, that it is trained.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    losses, outputs = [], []

    def loss() -> Tensor:
        outputs.append(model(x, **modes[0]))
        losses.append(
            model.compute_loss(x, y, outputs[-1], sample_weight, **modes[1])
        )
        return model.optimizer.scale_loss(losses[-1])

    variables = model.trainable_weights
    scale = model.optimizer.scale_loss(tf.ones(()))
    gradients = inner(model.optimizer).gradients(loss, variables, scale)
    steps.track(model, tf.add_n(losses) / len(losses), x)
    optimizer_step.apply_gradients(model.optimizer, gradients, variables)
    return model.compute_metrics(x, y, outputs[-1], sample_weight=sample_weight)
