"""Callbacks that collect weights in the course of `fit`."""

import abc
from collections.abc import Callable
from typing import Any

import keras

from tfpbnn.base import checks
from tfpbnn.networks.copying import clone, compile_like
from tfpbnn.posteriors.moments import Moments
from tfpbnn.training.optimizer_step import rate_setting

_UNITS = ("epoch", "step")


def check_settable(model: keras.Model) -> None:
    """Raises if the optimizer's learning rate can't be set."""
    setting = rate_setting(model.optimizer)
    if not isinstance(setting, float):
        raise ValueError(
            "The optimizer's learning rate must be a number for the callback "
            f"to set it. Received: {setting}. Compile with a "
            "number, or leave the schedule to the optimizer by "
            "`learning_rate=None`."
        )


class Collector(keras.callbacks.Callback, abc.ABC):
    """Collects weights every few epochs or steps, from some epoch on."""

    def __init__(
        self,
        start_epoch: int,
        frequency: int,
        unit: str,
        learning_rate: float | Callable[[int], float] | None,
        moments: Moments,
    ):
        super().__init__()
        if not callable(learning_rate):
            checks.positive_number.optional("learning_rate", learning_rate)
        self.start_epoch = checks.integer("start_epoch", start_epoch, least=0)
        self.frequency = checks.positive_integer("frequency", frequency)
        self.unit = checks.one_of("unit", unit, _UNITS)
        self.learning_rate = learning_rate
        self._moments = moments
        self._indices: list[int] = []  # of the weights that are collected
        self._epoch = -1
        self._waited = 0  # epochs or steps since the last set
        self._seen_steps = 0

    @property
    def num_collected(self) -> int:
        """The number of sets of weights that were collected so far."""
        return self._moments.count

    def on_train_begin(self, logs: Any = None) -> None:
        """Raises before the training what would otherwise fail after it."""
        if self.learning_rate is not None:
            check_settable(self.model)
        compile_like(clone(self.model, compiled=False), self.model, "sgd")
        place = {id(v): i for i, v in enumerate(self.model.weights)}
        self._indices = [place[id(v)] for v in self.model.trainable_variables]
        found = [tuple(v.shape) for v in self.model.trainable_variables]
        known = [mean.shape for mean in self._moments.means]
        if self.num_collected and found != known:
            raise ValueError(
                "A callback collects the weights of one model. Received: one "
                f"whose trainable weights have shapes {found}, after one with "
                f"{known}. Make another callback for it."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate, if one was given."""
        self._epoch, self._seen_steps = epoch, 0
        if epoch >= self.start_epoch and self.learning_rate is not None:
            rate = self.learning_rate
            value = rate(epoch) if callable(rate) else rate
            self.model.optimizer.learning_rate = float(value)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Collects weights, if it is time; a batch may be several steps."""
        steps, self._seen_steps = batch + 1 - self._seen_steps, batch + 1
        if self.unit == "step":
            self._wait(steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Collects weights, if it is time."""
        if self.unit == "epoch":
            self._wait(1)

    def _wait(self, amount: int) -> None:
        if self._epoch < self.start_epoch:
            return
        self._waited += amount
        if self._waited >= self.frequency and self._is_wanted():
            self._waited = 0
            self._moments.add(
                [
                    keras.ops.convert_to_numpy(v)
                    for v in self.model.trainable_variables
                ]
            )

    def _is_wanted(self) -> bool:
        """Says whether the weights of the last step may be collected."""
        return True

    def _check_collected(self, least: int) -> None:
        """Raises if fewer than `least` sets of weights were collected."""
        if self.num_collected >= least:
            return
        every = f"every {self.frequency} {self.unit}s"
        raise ValueError(
            f"{type(self).__name__} has collected {self.num_collected} sets "
            f"of weights and needs {least} or more: it was to do so {every} "
            f"from start_epoch={self.start_epoch} on (the first epoch is 0), "
            f"and {self._epoch + 1} epochs began. Lower `start_epoch` or "
            "`frequency`, train longer, or call `resume`."
        )

    def _network(self) -> keras.Model:
        """Copies the model, not compiled, with the mean of the weights."""
        network = clone(self.model, compiled=False)
        # Not its trainable variables: single ones may be frozen in the model,
        # which copies don't know of.
        weights = network.weights
        for index, mean in zip(self._indices, self._moments.means, strict=True):
            weights[index].assign(mean)
        return network
