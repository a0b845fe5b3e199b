"""Goes over pools of rows without labels, also those larger than memory."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfpbnn.base import data
from tfpbnn.base.progress import Bar
from tfpbnn.base.types import Array

# How many rows of arrays are looked at together.
_ROWS = 8192


class Part(NamedTuple):
    """Some rows of a pool.

    Attributes:
        rows: their numbers in the pool, `[n]`.
        x: their inputs, arrays `[n, ...]` in the structure of the pool.
    """

    rows: Array
    x: Any

    def take(self, places: Any) -> "Part":
        """Takes some of the rows, by their places here."""
        return Part(self.rows[places], taken(self.x, places))


class Pool:
    """Rows without labels, in arrays or in a stream that can be repeated."""

    def __init__(self, pool: Any):
        """Reads the pool, if it is of arrays.

        Args:
            pool: an array, a list or dict of arrays, a tf.data.Dataset or a
                PyDataset; targets that it brings are not looked at.

        Raises:
            TypeError: if it is a generator, which can be read but once, or of
                another form.
            ValueError: if arrays differ in length or have NaN.
        """
        self.is_stream = data.is_stream(pool)
        if self.is_stream and hasattr(pool, "__next__"):
            raise TypeError(
                "`pool` must be arrays, or a dataset that gives the same rows "
                "each time. Received: a generator, which can be read once. "
                "Make it a dataset by tf.data.Dataset.from_generator"
            )
        self._pool = pool if self.is_stream else data.as_arrays("pool", pool)

    @property
    def size(self) -> int | None:
        """The number of rows; None for a stream."""
        return None if self.is_stream else data.length(self._pool)

    def parts(self) -> Iterator[Part]:
        """Yields the rows in their order."""
        start = 0
        for batch, _, _ in data.weighted_batches(self._pool, _ROWS):
            x = data.as_arrays("pool", batch) if self.is_stream else batch
            count = data.length(x)
            yield Part(np.arange(start, start + count), x)
            start += count

    def highest(
        self,
        keys: Callable[[Any], Array],
        count: int,
        asked: Array,
        known: Any,
        bar: Bar,
    ) -> Part:
        """Finds the rows of the highest keys, in one pass.

        Args:
            keys: a function from inputs to numbers, `[n]`; rows of NaN are left
                out.
            count: how many rows to find, or as many as there are.
            asked: the numbers of rows that are left out, `[M]`.
            known: the inputs of these, in the same order.
            bar: counts the batches.

        Raises:
            ValueError: if the rows that were asked have other inputs now.
        """
        bar.expect(data.num_batches(self._pool, _ROWS))
        best: Part | None = None
        best_keys: Array = np.zeros(0)
        for part in self.parts():
            found = np.asarray(keys(part.x), np.float64).copy()
            if found.shape != part.rows.shape:
                raise ValueError(
                    "`acquisition` must return one score for each row, "
                    f"{part.rows.shape}. Received: the shape {found.shape}"
                )
            _leave_out(part, found, asked, known)
            places = _top(found, count)
            part, found = part.take(places), found[places]
            if best is not None:
                found = np.concatenate([best_keys, found])
                part = Part(*appended(tuple(best), tuple(part)))
                places = _top(found, count)
                part, found = part.take(places), found[places]
            best, best_keys = part, found
            bar.step()
        if best is None:
            raise ValueError("`pool` must have rows. Received: no batches")
        return best


def taken(x: Any, rows: Any) -> Any:
    """Takes rows of all arrays of a structure."""
    return keras.tree.map_structure(lambda leaf: leaf[rows], x)


def appended(x: Any, more: Any) -> Any:
    """Appends rows to all arrays of a structure."""
    return keras.tree.map_structure(
        lambda a, b: np.concatenate([a, b]), x, more
    )


def _leave_out(part: Part, keys: Array, asked: Array, known: Any) -> None:
    """Sets the keys of rows that were asked to NaN, in place."""
    here, places, which = np.intersect1d(part.rows, asked, return_indices=True)
    if not len(here):
        return
    keys[places] = np.nan
    pairs = zip(
        keras.tree.flatten(taken(part.x, places)),
        keras.tree.flatten(taken(known, which)),
        strict=True,
    )
    if not all(np.array_equal(a, b) for a, b in pairs):
        raise ValueError(
            "`pool` must give the same rows in the same order each time. "
            f"Received: other inputs at rows {here[:5].tolist()}, which were "
            "asked before. Shuffle once, before the labels are asked, or with "
            "reshuffle_each_iteration=False and a seed"
        )


def _top(keys: Array, count: int) -> Array:
    """The places of the highest keys that are numbers, highest first."""
    order = np.argsort(-keys, kind="stable")[:count]
    return order[~np.isnan(keys[order])]
