"""Trains with optimizers that need draws of the weights, or examples counted.

What an optimizer needs is told by its methods: `gradients` computes them at
draws of the weights, and `set_examples` takes the number of examples.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.base.types import Tensor
from tfpbnn.callbacks.kl_weight import DataLengthKLWeight, KLWeight
from tfpbnn.layers import kl
from tfpbnn.training import optimizer_step
from tfpbnn.training.optimizer_step import inner


def draws_weights(optimizer: Any) -> bool:
    """Says whether an optimizer takes gradients at draws of the weights."""
    return hasattr(inner(optimizer), "gradients")


def count_examples(model: Any, given: Mapping[str, Any]) -> None:
    """Tells the model's optimizer the number of examples, if it asks.

    Args:
        model: a compiled model.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: if the number can't be known and was not given, or the
            model's layers have a KL of their own.
    """
    optimizer = inner(getattr(model, "optimizer", None))
    if not hasattr(optimizer, "set_examples"):
        return
    known = optimizer.ess
    counter = DataLengthKLWeight(given) if known is None else KLWeight(known)
    counter.see(given)
    counter.set_model(model)
    counter.set_params({"steps": given.get("steps_per_epoch")})
    try:
        counts = counter.examples_and_divisor()
    except ValueError as error:
        if known is not None:
            raise
        raise ValueError(
            "`ess` must be the number of training examples where the data "
            f"don't tell it. Received: ess=None. Give `ess` to "
            f"{type(optimizer).__name__}. ({error})"
        ) from error
    optimizer.set_examples(*counts)


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

    Raises:
        ValueError: if the model's layers have distributions of their own.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    losses, outputs = [], []

    def loss() -> Tensor:
        outputs.append(model(x, **modes[0]))
        losses.append(
            model.compute_loss(x, y, outputs[-1], sample_weight, **modes[1])
        )
        return model.optimizer.scale_loss(losses[-1])

    if kl.managed_weights(model) or kl.kl_terms(model):
        raise ValueError(
            "The optimizer puts a distribution over the model's weights, so "
            "layers must have none. Received: a model with a KL. Use the "
            "layers of Keras, or tfpbnn.to_deterministic(model)"
        )
    variables = model.trainable_weights
    scale = model.optimizer.scale_loss(tf.ones(()))
    gradients = inner(model.optimizer).gradients(loss, variables, scale)
    tracker = keras_private.loss_tracker(model)
    mean = tf.add_n(losses) / len(losses)
    tracker.update_state(mean, sample_weight=tf.shape(first)[0])
    optimizer_step.apply_gradients(model.optimizer, gradients, variables)
    return model.compute_metrics(x, y, outputs[-1], sample_weight=sample_weight)
