"""The losses of the members, epoch by epoch."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor


class MemberLosses:
    """Averages of M losses over the rows seen.

    No Keras metric: those are logged as one number.
    """

    def __init__(self, num_members: int):
        self._total = tf.Variable(tf.zeros([num_members]), trainable=False)
        self._count = tf.Variable(0.0, trainable=False)

    def update(self, losses: Tensor, rows: Tensor) -> None:
        """Adds the losses of a batch.

        Args:
            losses: `[M]`; or `[M, B, ...]` of a loss without reduction.
            rows: how many rows each member has seen.
        """
        rows = tf.cast(rows, tf.float32)
        losses = tf.cast(losses, tf.float32)
        means = tf.reduce_mean(losses, axis=list(range(1, losses.shape.rank)))
        self._total.assign_add(means * rows)
        self._count.assign_add(rows)

    def take(self) -> Array | None:
        """The averages, `[M]`, if there are any; begins anew."""
        count = float(self._count.numpy())
        averages = self._total.numpy() / count if count else None
        self._total.assign(tf.zeros_like(self._total))
        self._count.assign(0.0)
        return averages


class MemberHistory(keras.callbacks.Callback):
    """Keeps the members' losses of each epoch in `model.member_history`."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.member_history = {"loss": []}
        self.model.train_losses.take()

    def on_test_begin(self, logs: Any = None) -> None:
        self.model.test_losses.take()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        history = self.model.member_history
        history["loss"].append(self.model.train_losses.take())
        validated = self.model.test_losses.take()
        if validated is not None:
            history.setdefault("val_loss", []).append(validated)
