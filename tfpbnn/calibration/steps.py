"""Maps numbers by steps or by lines between knots, in NumPy and in graphs."""

import math

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor


def padded(rows: list[Array]) -> Array:
    """Stacks rows `[M]` as `[K, M]`; their last number fills the shorter."""
    size = max(map(len, rows))
    return np.stack([np.pad(a, (0, size - len(a)), "edge") for a in rows])


def places(values: Tensor, knots: Array) -> tuple[Tensor, Tensor]:
    """Finds the last knot that is not above a value; the first if all are.

    It is a search by halves made of comparisons, which all formats of exports
    have.

    Args:
        values: `[..., K]`.
        knots: increasing, `[K, M]`.

    Returns:
        The indices, `[..., K]`, and where they begin in the flat knots, `[K]`.
    """
    count, size = knots.shape
    flat = tf.constant(knots.ravel(), values.dtype)
    first = tf.range(count, dtype=tf.int32) * size
    found = tf.zeros_like(values, tf.int32)
    for power in reversed(range(max(1, math.ceil(math.log2(size + 1))))):
        further = tf.minimum(found + 2**power, size - 1)
        is_below = tf.gather(flat, first + further) <= values
        found = tf.where(is_below, further, found)
    return found, first


def steps(values: Tensor, knots: Array, levels: Array) -> Tensor:
    """Maps each value to the level of the last knot that is not above it."""
    found, first = places(values, knots)
    flat = tf.constant(levels.ravel(), values.dtype)
    return tf.gather(flat, first + found)


def lines(values: Tensor, knots: Array, levels: Array) -> Tensor:
    """Maps values by lines between knots; constant beyond the ends."""
    found, first = places(values, knots)
    size = knots.shape[1]
    after = tf.minimum(found + 1, size - 1)
    x = tf.constant(knots.ravel(), values.dtype)
    y = tf.constant(levels.ravel(), values.dtype)
    x0, x1 = tf.gather(x, first + found), tf.gather(x, first + after)
    y0, y1 = tf.gather(y, first + found), tf.gather(y, first + after)
    width = x1 - x0
    share = (values - x0) / tf.where(width > 0, width, tf.ones_like(width))
    share = tf.where(width > 0, share, tf.zeros_like(share))
    return y0 + tf.clip_by_value(share, 0.0, 1.0) * (y1 - y0)


def slopes(values: Tensor, knots: Array, levels: Array) -> Tensor:
    """Computes the slopes of `lines`, of knots that all differ."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.diff(levels, axis=1) / np.diff(knots, axis=1)
    # Where a row was padded there is no line: the one before it goes on.
    for column in range(1, found.shape[1]):
        bad = ~np.isfinite(found[:, column])
        found[bad, column] = found[bad, column - 1]
    return steps(values, knots[:, :-1], found)


def isotonic(x: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """Fits a non-decreasing function by least squares.

    It is the pool-adjacent-violators algorithm.

    Args:
        x: places `[n]`; those that are equal are one, of their mean y.
        y: `[n]`.
        weights: `[n]`, positive.

    Returns:
        Knots and levels, between which the function is linear; of knots of one
        level only the first and the last.

    Reference:
        Barlow et al., 1972, Statistical inference under order restrictions
    """
    knots, where = np.unique(x, return_inverse=True)
    total = np.bincount(where, weights)
    mean = np.bincount(where, weights * y) / total
    blocks: list[list[float]] = []  # level, weight, number of knots
    for level, weight in zip(mean.tolist(), total.tolist(), strict=True):
        blocks.append([level, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            level, weight, count = blocks.pop()
            last = blocks[-1]
            both = last[1] + weight
            last[0] = (last[0] * last[1] + level * weight) / both
            last[1], last[2] = both, last[2] + count
    levels: Array = np.repeat(
        [b[0] for b in blocks], [int(b[2]) for b in blocks]
    )
    inner: Array = np.zeros(len(knots), bool)
    inner[1:-1] = (levels[1:-1] == levels[:-2]) & (levels[1:-1] == levels[2:])
    return knots[~inner], levels[~inner]
