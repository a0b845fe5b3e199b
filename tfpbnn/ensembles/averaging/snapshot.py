"""Defines snapshot ensembles."""

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
    """Collects an ensemble from one training, one member in each cycle.

    In each cycle the learning rate falls step by step from `learning_rate` to
    0: at the fraction t of the cycle it is `learning_rate / 2 (1 + cos(pi t))`.
    The weights at the end of a cycle are a member. The epochs of `fit` are
    shared out evenly among the cycles. When training ends, the rate is
    `learning_rate` again.

    `posterior` has the members of the cycles that are done; it can be taken
    during training, after it, or after an interrupt. Another `fit` with the
    same callback adds members.

    Args:
        num_cycles: the number of cycles in one `fit`, so that of its members.
        learning_rate: the rate at the start of each cycle; a high one, such
            as 0.1 or 0.2 for SGD, lets members differ.

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
        """The number of members so far."""
        return len(self._snapshots)

    @property
    def posterior(self) -> WeightSamples:
        """A new posterior of the members so far.

        Members have all their weights, and their own statistics of BatchNorm.
        The posterior is compiled with the model's loss and metrics.

        Raises:
            ValueError: if no cycle is done yet.
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
            posterior: the posterior of that process, loaded from a file.
        """
        self._snapshots = [member.get_weights() for member in posterior.members]

    def on_train_begin(self, logs: Any = None) -> None:
        """Raises before the training what would otherwise fail after it."""
        epochs = self.params["epochs"]
        if epochs < self.num_cycles:
            raise ValueError(
                "`num_cycles` must be at most the number of epochs. Received: "
                f"num_cycles={self.num_cycles}, epochs={epochs}"
            )
        check_settable(self.model)
        compile_like(clone(self.model, compiled=False), self.model, "sgd")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate of the epoch's start."""
        self._epoch = epoch
        self._set(0.0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate, if the number of steps is known."""
        if self.params["steps"]:
            self._set(batch / self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds a member at the end of a cycle."""
        if epoch + 1 == self._cycle(epoch)[1]:
            self._snapshots.append(self._weights())

    def on_train_end(self, logs: Any = None) -> None:
        """Sets the learning rate back from 0 to that of a cycle's start."""
        self.model.optimizer.learning_rate = self.learning_rate

    def _cycle(self, epoch: int) -> tuple[int, int]:
        """Finds the first epoch of an epoch's cycle, and one past its last."""
        epochs, cycles = self.params["epochs"], self.num_cycles
        ends = [number * epochs // cycles for number in range(cycles + 1)]
        number = next(i for i, end in enumerate(ends) if epoch < end)
        return ends[number - 1], ends[number]

    def _set(self, fraction: float) -> None:
        """Sets the learning rate at a fraction of the epoch."""
        start, stop = self._cycle(self._epoch)
        place = (self._epoch + fraction - start) / (stop - start)
        rate = self.learning_rate / 2 * (1 + math.cos(math.pi * place))
        self.model.optimizer.learning_rate = rate

    def _weights(self) -> list[Array]:
        """Reads all weights; unchanged ones share the last member's memory."""
        weights = self.model.get_weights()
        if not self._snapshots:
            return weights
        return [
            old if np.array_equal(old, new) else new
            for old, new in zip(self._snapshots[-1], weights, strict=True)
        ]
