"""The distribution function of a mixture over draws, and its quantiles."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Tensor
from tfpbnn.metrics.crps import Cdf

_MAX_DOUBLINGS = 200
_MAX_STEPS = 60


def mixture_cdf(marginals: Any, values: Tensor) -> Tensor:
    """The average over draws of the distribution functions at `values`.

    Args:
        marginals: a TFP distribution of batch shape `[S, n, .., k]`.
        values: `[Q, n, .., k]`.

    Returns:
        `[Q, n, .., k]`.
    """
    # One value of Q at a time, so that memory stays that of the draws.
    found = tf.stack(
        [tf.reduce_mean(marginals.cdf(v), axis=0) for v in tf.unstack(values)]
    )
    # TFP forgets it for some of the distributions; loops need it.
    return tf.ensure_shape(found, values.shape)


def quantile(
    cdf: Cdf,
    levels: Sequence[float] | Array,
    center: Tensor,
    width: Tensor,
    is_discrete: bool,
    tolerance: float = 1e-12,
) -> Tensor:
    """Inverts a distribution function: the least value that reaches a level.

    Args:
        cdf: takes and gives `[Q, n, .., k]`.
        levels: `[Q]`, in (0, 1).
        center: where to start, `[n, .., k]`.
        width: how far to step at first, `[n, .., k]`, positive.
        is_discrete: whether the smallest integer is asked for.
        tolerance: the error that may be left of other numbers, in widths, in
            addition to that of rounding.

    Returns:
        `[Q, n, .., k]`.
    """
    shape = [len(levels)] + [1] * len(center.shape)
    target = tf.reshape(tf.constant(levels, center.dtype), shape)
    target = target + tf.zeros_like(center)
    low = _expand(cdf, target, center, -width, tf.greater_equal)
    high = _expand(cdf, target, center, width, tf.less)
    if is_discrete:
        return _least_integer(cdf, target, tf.floor(low), tf.math.ceil(high))
    known = np.finfo(center.dtype.as_numpy_dtype)

    def excess(x: Tensor) -> Tensor:
        # Never zero: between far modes the function is flat, and the search
        # has to go on to where it begins to be.
        found = cdf(tf.ensure_shape(x, target.shape)) - target
        return tf.where(found < 0, found, tf.maximum(found, known.tiny))

    rounding = 4 * known.eps * (width + tf.abs(center))
    root = tfp.math.find_root_chandrupatla(
        excess,
        low,
        high,
        position_tolerance=tolerance * width + rounding,
        max_iterations=_MAX_STEPS,
    ).estimated_root
    return tf.ensure_shape(root, target.shape)


def _least_integer(
    cdf: Cdf, target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Bisects between integers: the least where `cdf` reaches the target."""

    def halve(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        middle = tf.floor(0.5 * (low + high))
        below = cdf(middle) < target
        return tf.where(below, middle, low), tf.where(below, high, middle)

    _, high = tf.while_loop(
        lambda low, high: tf.reduce_any(high - low > 1),
        halve,
        (low, high),
        maximum_iterations=_MAX_STEPS,
    )
    return high


def _expand(
    cdf: Cdf,
    target: Tensor,
    center: Tensor,
    step: Tensor,
    beyond: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Walks from the center, in doubling steps, until past the target."""
    zeros = tf.zeros_like(target)
    start = center + step + zeros

    def further(edge: Tensor, step: Tensor, short: Tensor) -> Any:
        step = 2 * step
        edge = tf.where(short, center + step, edge)
        return edge, step, beyond(cdf(edge), target)

    # In a graph too, so that exports have the same quantiles.
    edge, _, _ = tf.while_loop(
        lambda *state: tf.reduce_any(state[-1]),
        further,
        (start, step + zeros, beyond(cdf(start), target)),
        maximum_iterations=_MAX_DOUBLINGS,
    )
    return edge
