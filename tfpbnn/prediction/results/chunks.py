"""Works on the draws of many rows, a chunk of rows at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.progress import Bar
from tfpbnn.base.types import Array


def by_rows(
    function: Callable[..., Any],
    outputs: Array,
    arrays: Sequence[Array],
    size: int,
    dtype: Any,
) -> Any:
    """Concatenates over rows `function(outputs, *arrays)` of chunks of rows.

    All chunks have the same number of rows n, since programs are compiled for
    it: where the last rows are too few, rows before them are done once more.
    Work that takes long has a progress bar.

    Args:
        function: a function of the tensors `[S, n, .., P]` and `[n, ...]` that
            returns a tensor `[n, ...]`, or a tuple of them.
        outputs: the outputs at all draws, `[S, N, .., P]`.
        arrays: other arrays, `[N, ...]` each.
        size: about the number of elements of the outputs in a chunk.
        dtype: the dtype in which the function takes the outputs.
    """
    total = outputs.shape[1]
    step = min(max(1, size // max(outputs[:, :1].size, 1)), max(total, 1))
    starts = range(0, max(total, 1), step)
    bar, results = None, []
    for start in starts:
        first = max(0, min(start, total - step))
        rows, new = slice(first, first + step), slice(start - first, None)
        parts = [tf.constant(array[rows]) for array in arrays]
        found = function(tf.constant(outputs[:, rows], dtype), *parts)
        is_tuple = isinstance(found, tuple)
        found = found if is_tuple else [found]
        results.append([np.asarray(part)[new] for part in found])
        if bar is None:  # not before programs are compiled
            bar = Bar("auto")
            bar.expect(len(starts) - 1)
        else:
            bar.step()
    if bar is not None:
        bar.close()
    joined = tuple(np.concatenate(part) for part in zip(*results, strict=True))
    return joined if is_tuple else joined[0]


def mended(
    found: Array, is_right: Array, otherwise: Callable[[Array], Array]
) -> Array:
    """Does rows once more, in another way, where something isn't right.

    Args:
        found: what was found for rows, `[N, ...]`.
        is_right: booleans that say where that is right, `[N, ...]`.
        otherwise: computes the same for the rows that a mask `[N]` chooses.
    """
    rows = ~np.all(is_right, axis=tuple(range(1, is_right.ndim)))
    if np.any(rows):
        found[rows] = otherwise(rows)
    return found
