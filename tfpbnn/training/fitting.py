"""Fits and evaluates with checks of the data, and the KL weighted by length."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import data
from tfpbnn.base.types import Tensor
from tfpbnn.callbacks.kl_weight import with_kl_weight
from tfpbnn.distribute import replicas, starting, steps
from tfpbnn.training import (
    collapse,
    counting,
    data_checks,
    drawn_steps,
    optimizer_step,
    steps_per_call,
    units,
)


class WeightedFit(
    data_checks.CheckedData, steps_per_call.StepsPerCall, steps.SharedSteps
):
    """A mixin whose `fit` weights the KL by the number of training examples."""

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Fits like `keras.Model.fit`; the data's length weights the KL.

        Layers that have their own `kl_weight` keep it. A user's own
        `tfpbnn.callbacks.KLWeight` among the callbacks sets the others. A
        warning at the end names layers of which most units stayed at the prior.

        Raises:
            TypeError: if targets are strings or other objects.
            ValueError: if the number of training examples cannot be known, or
                arrays have NaN among them, or targets that the compiled loss
                can't take, such as a label beyond the last.
        """
        plain = super().fit  # type: ignore[misc]
        bound = inspect.signature(plain).bind(*args, **kwargs)
        given = bound.arguments
        data.as_keras_takes(given)
        starting.begin(self, given, is_training=True)
        data_checks.check_data(self, given)
        units.warn(self, given)
        if not isinstance(given.get("callbacks"), keras.callbacks.CallbackList):
            given["callbacks"] = with_kl_weight(given)
        counting.count(self, given)
        with steps_per_call.several(self, given, [self]):
            history = plain(*bound.args, **bound.kwargs)
        collapse.warn(self)
        return history

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains like `keras.Model.train_on_batch`.

        Optimizers of `tfpbnn.optimizers` are told what the loss is divided by;
        the number of all rows is to be given to them.
        """
        plain = super().train_on_batch  # type: ignore[misc]
        bound = inspect.signature(plain).bind(*args, **kwargs)
        counting.count_batch(self, bound.arguments)
        return plain(*bound.args, **bound.kwargs)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Does Keras's training step; large updates take one pass.

        Optimizers that need draws of the weights get gradients at these.

        Keras's own step ends with `optimizer.apply_gradients`. So where there
        is a faster way, and the step is Keras's, it is written out here.
        """
        plain = super().train_step  # type: ignore[misc]
        is_keras = plain.__func__ is keras.Model.train_step
        optimizer = self.optimizer  # type: ignore[attr-defined]
        if is_keras and drawn_steps.draws_weights(optimizer):
            return drawn_steps.train_step(self, data, _modes(self))
        weights = self.trainable_weights  # type: ignore[attr-defined]
        is_shared = replicas.are_several() and weights
        if is_keras and (
            is_shared or optimizer_step.is_one_pass(optimizer, weights)
        ):
            return _step(self, data)
        return plain(data)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Does Keras's test step; the loss is that of all replicas' rows."""
        plain = super().test_step  # type: ignore[misc]
        is_keras = plain.__func__ is keras.Model.test_step
        if not (is_keras and replicas.are_several()):
            return plain(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        in_call, in_loss = _modes(self, False)
        y_pred = self(x, **in_call)  # type: ignore[operator]
        loss = self.compute_loss(x, y, y_pred, sample_weight, **in_loss)
        steps.track(self, loss, x)
        return self.compute_metrics(  # type: ignore[attr-defined]
            x, y, y_pred, sample_weight=sample_weight
        )


def _step(model: Any, data: Any) -> dict[str, Tensor]:
    """Does Keras's training step, with this package's optimizer step.

    In one of several replicas it does its share of the step.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    in_call, in_loss = _modes(model)
    with tf.GradientTape() as tape:
        y_pred = model(x, **in_call)
        loss = model.compute_loss(x, y, y_pred, sample_weight, **in_loss)
        steps.track(model, loss, x)
        scaled = model.optimizer.scale_loss(loss)
    variables = model.trainable_weights
    gradients = tape.gradient(scaled, variables)
    gradients = steps.clipped_together(model.optimizer, gradients)
    optimizer_step.apply_gradients(model.optimizer, gradients, variables)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _modes(
    model: Any, training: bool = True
) -> tuple[dict[str, bool], dict[str, bool]]:
    """Returns the arguments `training` of a model's call and its loss."""
    call, loss = model.call, model.compute_loss
    return _mode(call, training), _mode(loss, training)


def _mode(function: Callable[..., Any], training: bool) -> dict[str, bool]:
    """Returns the argument `training`, for functions that have it."""
    has_mode = "training" in inspect.signature(function).parameters
    return {"training": training} if has_mode else {}
