"""Early stopping of each member of an ensemble."""

import math
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.ensembles.deep.base import StackedEnsemble


class MemberEarlyStopping(keras.callbacks.Callback):
    """Stops each member of an ensemble early, like Keras's `EarlyStopping`.

    A member whose loss has not improved for `patience` epochs keeps the weights
    that it has then (or those of its best epoch), while the others train on.
    Training ends when all members have stopped; these weights are set then.

    Args:
        monitor: the loss of each member to watch: "val_loss" or "loss".
        min_delta: the least decrease of the loss that is an improvement.
        patience: the number of epochs without improvement that stop a member.
        restore_best_weights: whether members end with the weights of their
            best epoch, also those that were never stopped.
        verbose: 1 to print when a member stops.

    Attributes:
        stopped_epochs: the epoch at which each member was stopped, counted from
            0; None for a member that was not.
        best_epochs: the epoch of each member's least loss, counted from 0.

    Raises:
        ValueError: if an argument is out of range; in `fit`, if the model is no
            ensemble with stacked weights, or the losses to monitor are not
            there.

    Example:
    ```python
    stop = tfpbnn.ensembles.MemberEarlyStopping(patience=3)
    ensemble = tfpbnn.ensembles.DeepEnsemble(model, num_members=3)
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ensemble.fit(x, y, epochs=5, validation_split=0.2, callbacks=[stop])
    ```
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        restore_best_weights: bool = False,
        verbose: int = 0,
    ):
        super().__init__()
        self.monitor = checks.one_of("monitor", monitor, ["loss", "val_loss"])
        self.min_delta = abs(min_delta)
        self.patience = checks.integer("patience", patience, least=0)
        self.restore_best_weights = restore_best_weights
        self.verbose = verbose

    def on_train_begin(self, logs: Any = None) -> None:
        if not isinstance(self.model, StackedEnsemble):
            raise ValueError(
                "`MemberEarlyStopping` is for ensembles that train their "
                "members together. Received: model of class "
                f"{type(self.model).__name__}; use "
                "keras.callbacks.EarlyStopping"
            )
        count = self.model.num_members
        self.best = np.full(count, math.inf)
        self.best_epochs: list[int | None] = [None] * count
        self.stopped_epochs: list[int | None] = [None] * count
        self._kept: dict[int, list[Any]] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        history = self.model.member_history.get(self.monitor)
        if not history:
            raise ValueError(
                f'`monitor="{self.monitor}"` needs validation data in `fit` '
                "(or once an epoch). Received: losses of "
                f"{sorted(self.model.member_history)}"
            )
        for member, loss in enumerate(history[-1]):
            if self.stopped_epochs[member] is None:
                self._look_at(member, float(loss), epoch)
        if None not in self.stopped_epochs:
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        for member, values in self._kept.items():
            self.model.set_member_values(member, values)
        self._kept = {}

    def _look_at(self, member: int, loss: float, epoch: int) -> None:
        if loss < self.best[member] - self.min_delta:
            self.best[member], self.best_epochs[member] = loss, epoch
            if self.restore_best_weights:
                self._keep(member)
        last = self.best_epochs[member]
        waited = epoch - (-1 if last is None else last)
        if waited < max(self.patience, 1) or last == epoch:
            return
        self.stopped_epochs[member] = epoch
        if not self.restore_best_weights:
            self._keep(member)
        if self.verbose:
            print(f"Epoch {epoch + 1}: member {member} stopped")

    def _keep(self, member: int) -> None:
        self._kept[member] = self.model.member_values(member)
