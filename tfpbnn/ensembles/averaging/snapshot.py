"""Snapshot ensembles."""

import math
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.ensembles.averaging.collector import check_settable
from tfpbnn.networks.copying import clone, compile_like
from tfpbnn.posteriors.weight_samples import WeightSamples


class SnapshotEnsemble(keras.callbacks.Callback):
    """Members from one training, at the ends of cycles of its learning rate.

    In each cycle the rate falls from `learning_rate` to nothing, `rate / 2 (1 +
    cos(pi t))` at the fraction t of the cycle, step by step, and the weights
    at its end are a member. Cycles have as many epochs each, or one more.
    When training ends, the rate is `learning_rate` again.

    `posterior` is of the cycles that are done: in training, after it, or
    after an interrupt. Another `fit` with the same callback adds to it.

    Args:
        num_cycles: in all epochs of `fit`.
        learning_rate: at the start of each cycle; a high one, 0.1 or 0.2 for
            SGD, lets members differ.

    Raises:
        ValueError: if an argument is out of range; in `fit`, if there are
            fewer epochs than cycles, the model can't be copied or the
            learning rate can't be set.

    Example:
    ```python
    snapshots = tfpbnn.ensembles.SnapshotEnsemble(3, learning_rate=0.05)
    model.fit(x, y, epochs=9, callbacks=[snapshots], verbose=0)
    tfpbnn.predict(snapshots.posterior, x)
    ```

    Reference:
        [Huang et al., 2017](https://arxiv.org/abs/1704.00109)
    """

    def __init__(self, num_cycles: int, learning_rate: float):
        super().__init__()
        self.num_cycles = checks.positive_integer("num_cycles", num_cycles)
        self.learning_rate = checks.positive_number(
            "learning_rate", learning_rate
        )
        self._snapshots: list[list[Array]] = []
        self._epoch = 0

    @property
    def num_collected(self) -> int:
        """How many members there are so far."""
        return len(self._snapshots)

    @property
    def posterior(self) -> WeightSamples:
        """A new posterior of the members so far.

        With all their weights, statistics of BatchNorm too. Compiled with the
        model's loss and metrics.

        Raises:
            ValueError: if no cycle is done.
        """
        if not self._snapshots:
            raise ValueError(
                "SnapshotEnsemble has no members yet: the first of "
                f"{self.num_cycles} cycles was not done. Train it to its end."
            )
        return WeightSamples.from_weights(self.model, self._snapshots)

    def resume(self, posterior: WeightSamples) -> None:
        """Starts with the members of an earlier process.

        Args:
            posterior: as loaded from a file.
        """
        self._snapshots = [member.get_weights() for member in posterior.members]

    def on_train_begin(self, logs: Any = None) -> None:
        """Sees now, not after the training, that all will be possible."""
        epochs = self.params["epochs"]
        if epochs < self.num_cycles:
            raise ValueError(
                "`num_cycles` must be at most the number of epochs. Received: "
                f"num_cycles={self.num_cycles}, epochs={epochs}"
            )
        check_settable(self.model)
        compile_like(clone(self.model, compiled=False), self.model, "sgd")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate."""
        self._epoch = epoch
        self._set(0.0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate, if the number of steps is known."""
        if self.params["steps"]:
            self._set(batch / self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Takes in a member at the end of a cycle."""
        if epoch + 1 == self._cycle(epoch)[1]:
            self._snapshots.append(self._weights())

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves no learning rate of nothing behind."""
        self.model.optimizer.learning_rate = self.learning_rate

    def _cycle(self, epoch: int) -> tuple[int, int]:
        """The cycle's first epoch, and one past its last."""
        epochs, cycles = self.params["epochs"], self.num_cycles
        ends = [number * epochs // cycles for number in range(cycles + 1)]
        number = next(i for i, end in enumerate(ends) if epoch < end)
        return ends[number - 1], ends[number]

    def _set(self, fraction: float) -> None:
        """Sets the rate at a fraction of the epoch."""
        start, stop = self._cycle(self._epoch)
        place = (self._epoch + fraction - start) / (stop - start)
        rate = self.learning_rate / 2 * (1 + math.cos(math.pi * place))
        self.model.optimizer.learning_rate = rate

    def _weights(self) -> list[Array]:
        """All weights; those that stayed share memory with the last ones."""
        weights = self.model.get_weights()
        if not self._snapshots:
            return weights
        return [
            old if np.array_equal(old, new) else new
            for old, new in zip(self._snapshots[-1], weights, strict=True)
        ]
