"""Which places of a batch count for a loss, and for how much."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfpbnn.base.places import over_places, over_targets
from tfpbnn.base.types import Tensor


class Places(NamedTuple):
    """The places `[B, ...]` of outputs `[B, ..., P]`, each a row or a step.

    Attributes:
        counted: booleans that broadcast to the places; None if all count.
        weights: weights that broadcast to the places, where steps have their
            own; else None.
        row_weights: one weight for each row, which is the sum of its steps'
            weights where these have their own; None if there are no weights.
    """

    counted: Tensor | None = None
    weights: Tensor | None = None
    row_weights: Tensor | None = None

    def without(self, ignored: Tensor | None, y_pred: Tensor) -> "Places":
        """The same, without the places at which targets are ignored."""
        if ignored is None:
            return self
        kept = over_places(~ignored, y_pred.shape[:-1])
        both = kept if self.counted is None else kept & self.counted
        return self._replace(counted=both)

    def filled(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Targets and outputs with harmless numbers where nothing counts.

        Padding is often -1 or NaN, of which even 0 times the gradient is NaN.
        """
        if self.counted is None:
            return y_true, y_pred
        where = over_targets(self.counted, y_true)
        return (
            tf.where(where, y_true, tf.zeros_like(y_true)),
            tf.where(self.counted[..., None], y_pred, tf.ones_like(y_pred)),
        )

    def sum(self, nll: Tensor) -> Tensor:
        """The sum over each row's places, `[B]`, of what counts.

        Where steps have weights it is divided by their sum, which comes back as
        the weight of the row: so each of Keras's reductions is right.
        """
        if self.counted is not None:
            nll = tf.where(self.counted, nll, tf.zeros_like(nll))
        axes = list(range(1, len(nll.shape)))
        if self.weights is None:
            return tf.reduce_sum(nll, axes)
        total = tf.reduce_sum(self.weights * nll, axes)
        return tf.math.divide_no_nan(total, self.row_weights)


def places_of(
    y_pred: Tensor, mask: Any, sample_weight: Any, name: str
) -> Places:
    """The places of outputs that count by Keras's mask and by their weights.

    Args:
        y_pred: outputs, `[B, ..., P]`.
        mask: Keras's mask, or None. One that has other steps than the outputs
            is of steps that a layer has joined, and is left aside.
        sample_weight: weights of rows `[B]` or of places `[B, ...]`, or None.
        name: the likelihood's, for errors.

    Raises:
        ValueError: if weights fit neither rows nor places.
    """
    shape = y_pred.shape[:-1]
    counted = None if mask is None else over_places(mask, shape)
    if counted is not None:
        counted = tf.cast(counted, tf.bool)
    if sample_weight is None:
        return Places(counted)
    given = tf.convert_to_tensor(sample_weight)
    weights = over_places(tf.cast(given, y_pred.dtype), shape)
    if weights is None:
        raise ValueError(
            "`sample_weight` must be one weight per example, or one for each "
            f"position of an example's outputs, {tuple(shape)} for `{name}` on "
            f"outputs of shape {tuple(y_pred.shape)}. Received: weights of "
            f"shape {tuple(given.shape)}"
        )
    weighted = weights != 0
    counted = weighted if counted is None else counted & weighted
    if all(size == 1 for size in weights.shape[1:]):
        return Places(counted, None, tf.reshape(weights, [-1]))
    weights = tf.broadcast_to(weights, tf.shape(y_pred)[:-1])
    axes = list(range(1, len(shape)))
    return Places(counted, weights, tf.reduce_sum(weights, axes))


def fits(array: Any, shape: Any) -> bool:
    """Whether a shape is as expected, as far as both are known."""
    return tf.TensorShape(array.shape).is_compatible_with(shape)
