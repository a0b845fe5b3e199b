"""Training data with an order, or weights, of each member's own."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfpbnn import random
from tfpbnn.base import data
from tfpbnn.base.types import Array


class MemberFeed(keras.utils.PyDataset):
    """Batches in which members see rows, or weights, of their own.

    Gives (x, y), and weights if there are any. With an order of each member's
    own, all have an axis of members behind that of rows, `[B, M, ...]`; else
    only the weights have.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        weights: Array | None,
        *,
        batch_size: int,
        shuffle: bool,
        num_orders: int,
        seed: int | None,
    ):
        """Begins the first epoch.

        Args:
            x: inputs, N rows.
            y: targets.
            weights: of rows for each member, `[N, M]`; None for all 1.
            batch_size: of a batch, in rows of each member.
            shuffle: whether there is a new order for each epoch.
            num_orders: M for an order of each member's own, 1 for one of all.
            seed: of the orders; None takes one from Python's `random`.
        """
        super().__init__()
        self._x, self._y, self._weights = x, y, weights
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
        rows = self._orders[start : start + self._batch_size]
        weights = self._weights
        if weights is not None:
            weights = weights[rows, np.arange(weights.shape[1])]
        if self._num_orders == 1:
            rows = rows[:, 0]

        def take(array: Array) -> Array:
            return array[rows]

        x, y = keras.tree.map_structure(take, (self._x, self._y))
        return (x, y) if weights is None else (x, y, weights)


def example_weights(
    y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None
) -> Array | None:
    """The weight of each row, `[N]`, of Keras's two arguments.

    Raises:
        ValueError: if they don't fit the targets.
    """
    weights = None
    if sample_weight is not None:
        weights = np.asarray(sample_weight, "float32").reshape(-1)
    if class_weight is None:
        return weights
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    try:
        labels = labels.reshape(len(labels)).astype(int)
    except ValueError:
        raise ValueError(
            "`class_weight` needs one label for each row. Received: targets "
            f"of shape {np.shape(y)}"
        ) from None
    of_class = np.array([class_weight.get(int(k), 1.0) for k in labels])
    return (of_class if weights is None else weights * of_class).astype(
        "float32"
    )
