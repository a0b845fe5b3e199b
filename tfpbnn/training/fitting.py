"""`fit` and `evaluate` that know the data: checks, and the KL by its length."""

import inspect
from typing import Any

import keras

from tfpbnn.base import data
from tfpbnn.base.types import Tensor
from tfpbnn.callbacks.kl_weight import KLWeight
from tfpbnn.layers.kl import managed_weights
from tfpbnn.training import data_checks, optimizer_step, steps_per_call


class _DataLengthKLWeight(keras.callbacks.Callback):
    """A `KLWeight` with the data's length, if the model turns out to need it.

    That is known when training begins: a model may be built no sooner.
    """

    def __init__(self, x: Any, validation_split: float):
        super().__init__()
        self._x = x
        self._validation_split = validation_split
        self._inner: KLWeight | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        if not managed_weights(self.model):
            return
        count = data.count_examples(self._x, self._validation_split)
        self._inner = KLWeight(count)
        self._inner.set_model(self.model)
        self._inner.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._inner is not None:
            self._inner.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._inner is not None:
            self._inner.on_epoch_end(epoch, logs)


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
            callbacks = list(keras.tree.flatten(callbacks))
            if not any(isinstance(item, KLWeight) for item in callbacks):
                split = given.get("validation_split") or 0.0
                weight = _DataLengthKLWeight(given.get("x"), split)
                given["callbacks"] = [*callbacks, weight]
        with steps_per_call.several(self, given, [self]):
            return plain(*bound.args, **bound.kwargs)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """As in Keras; large updates are one pass over the weights."""
        plain = super().train_step  # type: ignore[misc]
        optimizer = self.optimizer  # type: ignore[attr-defined]
        with optimizer_step.compiled(optimizer):
            return plain(data)
