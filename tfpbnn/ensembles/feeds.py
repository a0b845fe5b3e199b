"""Training data with an order, or weights, of each member's own."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfpbnn import data, random
from tfpbnn.types import Array


class MemberFeed(keras.utils.PyDataset):
    """Batches in which members see rows, or weights, of their own.

    Gives (x, y), and weights if there are any. With an order of each member's
    own, all have an axis of members behind that of rows, `[B, M, ...]`; else
    only the weights have.
    """

    def __init__(
        self,
        arrays: tuple[Any, Any, Any],
        num_members: int,
        *,
        batch_size: int,
        shuffle: bool,
        own_order: bool,
        bootstrap: bool,
        seed: int | None,
    ):
        """Begins the first epoch.

        Args:
            arrays: x, y and weights of rows (None for all 1).
            num_members: M.
            batch_size: of a batch, in rows of each member.
            shuffle: whether there is a new order for each epoch.
            own_order: whether each member has an order of its own.
            bootstrap: whether rows have weights that are Poisson of mean 1,
                drawn once.
            seed: of orders and weights; None takes one from Python's `random`.
        """
        super().__init__()
        self._x, self._y, self._weights = arrays
        self._size = data.length(self._x)
        self._members = num_members
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._own_order = own_order
        self._generator = random.generator(seed)
        if bootstrap:
            counts = self._generator.poisson(1.0, (self._size, num_members))
            own = 1.0 if self._weights is None else self._weights[:, None]
            self._weights = (counts * own).astype("float32")
        elif self._weights is not None:
            self._weights = np.repeat(self._weights[:, None], num_members, 1)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Draws the orders of the next epoch."""
        columns = self._members if self._own_order else 1
        self._orders = np.stack(
            [self._order() for _ in range(columns)], axis=1
        )  # [N, M] or [N, 1]

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
            weights = weights[rows, np.arange(self._members)]
        if not self._own_order:
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
