"""Training data with an order, or weights, of each member's own."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import data
from tfpbnn.base.stacking import map_tensors
from tfpbnn.base.types import Array


class MemberFeed(keras.utils.PyDataset):
    """Batches in which members see rows, or weights, of their own.

    It gives (x, y), and if there are weights also a tuple of them: those that
    members are trained with, and those that metrics are to see, if any. With an
    order of each member's own, all have an axis of members behind that of rows,
    `[B, M, ...]`; else only the weights that members are trained with.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        weights: Any,
        *,
        batch_size: int,
        shuffle: bool,
        num_orders: int,
        seed: int | None,
        counts: Array | None = None,
    ):
        """Begins the first epoch.

        Args:
            x: inputs, N rows.
            y: targets.
            weights: of rows, or of each of their steps, `[N, ...]`; one array
                or a structure like that of y. None for all 1.
            batch_size: of a batch, in rows of each member.
            shuffle: whether there is a new order for each epoch.
            num_orders: M for an order of each member's own, 1 for one of all.
            seed: of the orders; None takes one from Python's `random`.
            counts: how often each member sees each row, `[N, M]`; None for
                once.
        """
        super().__init__()
        self._rows = (x, y, weights)
        self._counts = counts
        self._size = data.length(x)
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._num_orders = num_orders
        self._generator = random.generator(seed)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Draws the orders of the next epoch."""
        self._orders = np.stack(
            [self._order() for _ in range(self._num_orders)], axis=1
        )

    def _order(self) -> Array:
        if self._shuffle:
            return self._generator.permutation(self._size)
        return np.arange(self._size)

    @property
    def num_batches(self) -> int:
        return math.ceil(self._size / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        start = index * self._batch_size
        orders = self._orders[start : start + self._batch_size]
        is_own = self._num_orders > 1
        rows = orders if is_own else orders[:, 0]
        x, y, weights = map_tensors(lambda a: _standard(a[rows]), self._rows)
        trained = weights
        if self._counts is not None:
            counts = self._counts[orders, np.arange(self._counts.shape[1])]
            shared = map_tensors(lambda w: w[:, np.newaxis], weights)
            trained = counted(counts, weights if is_own else shared)
        if trained is None:
            return x, y
        # Keras takes no None among what is in a batch.
        return x, y, (trained,) if weights is None else (trained, weights)


def _standard(array: Array) -> Any:
    """An array as Keras takes it in batches, where strings are tensors."""
    return tf.constant(array) if array.dtype.kind in "OSU" else array


def counted(counts: Array, weights: Any) -> Any:
    """Weights times the counts of rows.

    Args:
        counts: how often each row is there, `[B]` or `[B, M]`.
        weights: a structure of weights, which have the axes of `counts` (or
            some of size 1) before others, such as that of steps; None for 1.
    """

    def times(weight: Array | None) -> Array:
        if weight is None:
            return counts
        more = [1] * (weight.ndim - counts.ndim)
        return weight * counts.reshape([*counts.shape, *more])

    return keras.tree.map_structure(times, weights)


def example_weights(
    y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None
) -> Any:
    """The weights of rows, or of their steps, of Keras's two arguments.

    Returns:
        None, or `[N, ...]` of float32 in the structure of `sample_weight`.

    Raises:
        ValueError: if both are given, or there is not one label for each row.
    """
    if class_weight is None:
        return map_tensors(lambda w: np.asarray(w, "float32"), sample_weight)
    if sample_weight is not None:
        raise ValueError(
            "`class_weight` must be None if there is a `sample_weight`, as in "
            "Keras. Received: both. Multiply the weights of rows by "
            "`[class_weight[label] for label in y]`"
        )
    if keras.tree.is_nested(y):
        raise ValueError(
            "`class_weight` must be None if there are several outputs, as in "
            "Keras. Received: targets in a "
            f"{type(y).__name__}. Pass `sample_weight` for each output"
        )
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    try:
        labels = np.round(labels.reshape(len(labels))).astype(int)
    except ValueError:
        raise ValueError(
            "`class_weight` needs one label for each row. Received: targets "
            f"of shape {np.shape(y)}"
        ) from None
    weights = [class_weight.get(int(label), 1.0) for label in labels]
    return np.array(weights, "float32")
