"""Computes losses of a batch that replicas share, as of one device.

Keras takes the mean of the replicas' means, which is another number where
these have different numbers of rows, of places without a mask, or weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.base.types import Tensor
from tfpbnn.distribute import replicas


class ShareOfLoss:
    """A Keras loss of a replica's rows, as its share of all replicas' loss.

    The shares add up, as gradients do, to the loss of the whole batch: the sum
    of the values over all replicas, divided by what Keras would divide it by on
    one device. Outside of replicas it is the loss itself.

    Args:
        loss: the loss of one output.
    """

    def __init__(self, loss: Any):
        self.loss = loss

    @property
    def name(self) -> str:
        """The loss's name."""
        return self.loss.name

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None
    ) -> Tensor:
        if not replicas.are_several():
            return self.loss(y_true, y_pred, sample_weight)
        self._check_reduction()
        values = _Values(self.loss)
        total = keras_private.summed(self.loss, values)(
            y_true, y_pred, sample_weight
        )
        values.check()
        if self.loss.reduction == "sum":
            return total
        by_weights = self.loss.reduction == "mean_with_sample_weight"
        divisor = keras_private.summed(self.loss, values.ones)(
            y_true, y_pred, sample_weight if by_weights else None
        )
        return tf.math.divide_no_nan(total, replicas.total(divisor))

    def _check_reduction(self) -> None:
        if self.loss.reduction in (None, "none"):
            raise ValueError(
                "`loss` must have a reduction, such as "
                'reduction="sum_over_batch_size", where several replicas share '
                f"a batch. Received: {self.loss.name!r} with reduction=None"
            )


class _Values:
    """What a loss computes of each row and place, computed once.

    Keras sums it up with masks and weights, and so it sums up ones: what its
    means are divided by.
    """

    def __init__(self, loss: Any):
        self._loss = loss
        self._kept: Any = None

    def __call__(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        self._kept = tf.convert_to_tensor(self._loss.call(y_true, y_pred))
        return self._kept

    def ones(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns ones, masked as the values are."""
        ones = tf.ones_like(self._kept)
        return keras_private.with_mask(ones, keras_private.mask_of(self._kept))

    def check(self) -> None:
        """Raises unless there is a value for each row."""
        if self._kept is None or self._kept.shape.rank == 0:
            raise ValueError(
                "`loss` must return one value for each row, `[B]` or more, "
                "where several replicas share a batch: means of parts don't "
                "tell the mean of the whole. Received: "
                f"{self._loss.name!r}, which returns a scalar. Leave the mean "
                "over rows to Keras, as in `return tf.reduce_mean("
                "(y - y_pred)**2, axis=-1)`"
            )


def total_loss(
    losses: Callable[[], Tensor | None],
    of_weights: Sequence[Tensor],
    of_calls: Sequence[Tensor],
    rows: Tensor,
) -> Tensor:
    """Computes a replica's share of a model's loss.

    What layers add must have been read before anything is added up over
    replicas, at which these take turns, and Keras keeps one list for all.

    Args:
        losses: computes the shares of the losses of the outputs.
        of_weights: the losses of weights, such as a KL. All replicas have
            them, so each takes its part.
        of_calls: the losses that layers add when they are called, which are
            means over the replica's rows, or the same for any rows.
        rows: the number of the replica's rows.
    """
    parts = [tf.reduce_sum(part) / replicas.count() for part in of_weights]
    if of_calls:
        share = replicas.share_of(rows)
        # The mean over no rows is NaN.
        parts += [
            tf.where(share > 0, tf.reduce_sum(part), 0)
            * tf.cast(share, part.dtype)
            for part in of_calls
        ]
    loss = losses()
    if loss is not None:
        parts = [loss, *(tf.cast(part, loss.dtype) for part in parts)]
    return tf.add_n(parts)
