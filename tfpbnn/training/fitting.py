"""`fit` and `evaluate` that know the data: checks, and the KL by its length."""

import inspect
from typing import Any

import keras

from tfpbnn.base.types import Tensor
from tfpbnn.callbacks.kl_weight import data_length_weights
from tfpbnn.training import data_checks, optimizer_step, steps_per_call


class WeightedFit(data_checks.CheckedEvaluate, steps_per_call.StepsPerCall):
    """`fit` that weights the KL by the number of training examples."""

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`, with the KL weighted by the data's length.

        Layers that have a `kl_weight` of their own keep it, and a
        `tfpbnn.callbacks.KLWeight` among the callbacks is left in charge.

        Args:
            *args: as in Keras.
            **kwargs: as in Keras.

        Raises:
            TypeError: if targets are names, or other objects.
            ValueError: if the number of training examples cannot be known, or
                arrays have NaN among them, or targets that the compiled loss
                can't take, such as a label beyond the last.
        """
        plain = super().fit  # type: ignore[misc]
        bound = inspect.signature(plain).bind(*args, **kwargs)
        given = bound.arguments
        data_checks.check_data(self, given)
        callbacks = given.get("callbacks") or []
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            given["callbacks"] = [
                *keras.tree.flatten(callbacks),
                *data_length_weights(given),
            ]
        with steps_per_call.several(self, given, [self]):
            return plain(*bound.args, **bound.kwargs)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """As in Keras; large updates are one pass over the weights."""
        plain = super().train_step  # type: ignore[misc]
        optimizer = self.optimizer  # type: ignore[attr-defined]
        with optimizer_step.compiled(optimizer):
            return plain(data)
