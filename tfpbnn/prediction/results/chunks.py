"""Work on the draws of many rows, a chunk of rows at a time."""

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
    """`function([S, n, .., P] tensor, *rows)`, concatenated over rows.

    All chunks have the same number of rows n, since programs are compiled for
    it: where the last rows are too few, rows before them are done once more.
    What takes long has a progress bar.

    Args:
        function: gives a tensor `[n, ...]`, or a tuple of them.
        outputs: `[S, N, .., P]`.
        arrays: `[N, ...]` each.
        size: about how many elements of the outputs are a chunk.
        dtype: in which the outputs are given.
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
        results.append([part[new] for part in (found if is_tuple else [found])])
        if bar is None:  # not before programs are compiled
            bar = Bar("auto")
            bar.expect(len(starts) - 1)
        else:
            bar.step()
    if bar is not None:
        bar.close()
    joined = tuple(np.concatenate(part) for part in zip(*results, strict=True))
    return joined if is_tuple else joined[0]
