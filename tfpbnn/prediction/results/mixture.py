"""Computes distribution functions and quantiles of mixtures over draws."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.metrics import quadrature
from tfpbnn.metrics.quadrature import Cdf

_MAX_DOUBLINGS = 200
_MAX_STEPS = 60
# Moments of a mapped mixture are integrals over its levels: so many parts, of
# which the first and the last are cut once more.
_PARTS = 32
_MOST_VALUES = 2**21
_ENDS = np.array([0.0, 1e-7, 1e-5, 1e-3, 0.03, 0.3])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)


def mixture_cdf(marginals: Any, values: Tensor) -> Tensor:
    """Averages the distribution functions over draws, at `values`.

    Args:
        marginals: a TFP distribution of batch shape `[S, n, .., k]`.
        values: the arguments, `[Q, n, .., k]`.

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
    levels: Sequence[float] | Array | Tensor,
    center: Tensor,
    width: Tensor,
    is_discrete: bool,
    tolerance: float = 1e-12,
) -> Tensor:
    """Inverts a distribution function: the least value that reaches a level.

    Args:
        cdf: the distribution function, from `[Q, n, .., k]` to the same shape.
        levels: the levels, in (0, 1), `[Q]`, or a tensor `[Q, n, .., k]`.
        center: where the search starts, `[n, .., k]`.
        width: the length of the first step, `[n, .., k]`, positive.
        is_discrete: whether values are integers.
        tolerance: for other values the error that may be left, in widths, in
            addition to that of rounding.

    Returns:
        `[Q, n, .., k]`.
    """
    target = levels
    if not tf.is_tensor(levels):
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
    """Bisects for the least integer at which `cdf` reaches the target."""

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


def known_quantiles(quantiles: Mapping[float, Array], levels: Array) -> Array:
    """Looks up quantiles that were kept where draws were not, `[Q, N, k]`."""
    kept = {round(q, 9): part for q, part in quantiles.items()}
    wanted = [round(q, 9) for q in levels.tolist()]
    if unknown := sorted(set(wanted) - set(kept)):
        raise ValueError(
            "The draws were not kept, and of quantiles only the levels "
            f"{sorted(kept)}. Received: {unknown}"
        )
    return np.stack([kept[q] for q in wanted])


def averages(likelihood: Likelihood, outputs: Tensor) -> tuple[Tensor, ...]:
    """Averages over draws: mean, its variance, and variance of the noise.

    Args:
        likelihood: the likelihood of the outputs.
        outputs: the outputs at each draw, `[S, n, .., P]`.

    Returns:
        The mean, the variance over draws of the means, and the mean variance
        of the noise, `[n, .., k]` each.
    """
    marginals = likelihood.marginals(outputs)
    means = marginals.mean()
    variances = marginals.variance() + tf.zeros_like(means)
    found = (
        tf.reduce_mean(means, axis=0),
        tf.math.reduce_variance(means, axis=0),
        tf.reduce_mean(variances, axis=0),
    )
    if likelihood.of_mixture is None:
        return found
    return _mapped(likelihood, outputs, *found)


def _mapped(
    likelihood: Likelihood,
    outputs: Tensor,
    mean: Tensor,
    epistemic: Tensor,
    aleatoric: Tensor,
) -> tuple[Tensor, ...]:
    """Computes `averages` of a mapped mixture, from what they were before.

    The share of the variance that is epistemic stays the same.
    """
    inner = np.arange(1, _PARTS) / _PARTS
    edges = [_ENDS / _PARTS, inner, 1 - _ENDS[::-1] / _PARTS]
    edges = np.concatenate(edges)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    levels = np.ravel(middle[:, np.newaxis] + half[:, np.newaxis] * _NODES)
    weights = np.ravel(half[:, np.newaxis] * _WEIGHTS)
    center, width = centers(mean, epistemic + aleatoric)
    pieces = [slice(None)]  # of a graph, which has few rows, or any number
    if tf.executing_eagerly():
        each = len(levels) * max(1, outputs[:, :1].shape.num_elements())
        rows = max(1, _MOST_VALUES // each)
        starts = range(0, outputs.shape[1] or 1, rows)
        pieces = [slice(start, start + rows) for start in starts]
    parts = [
        _all_quantiles(
            likelihood, outputs[:, piece], levels, center[piece], width[piece]
        )
        for piece in pieces
    ]
    values = tf.concat(parts, axis=1)
    weights = tf.constant(weights, values.dtype)
    mean = tf.tensordot(weights, values, 1)
    variance = tf.tensordot(weights, tf.square(values - mean), 1)
    share = tf.math.divide_no_nan(epistemic, epistemic + aleatoric)
    return mean, share * variance, (1 - share) * variance


def _all_quantiles(
    likelihood: Likelihood,
    outputs: Tensor,
    levels: Array,
    center: Tensor,
    width: Tensor,
) -> Tensor:
    """Computes many quantiles at once, where there is the memory for it."""
    marginals, found = likelihood.marginals(outputs), likelihood.of_mixture
    assert found is not None

    def cdf(values: Tensor) -> Tensor:
        all_draws = marginals.cdf(values[:, tf.newaxis])
        return found.levels(tf.reduce_mean(all_draws, axis=1))

    return quantile(cdf, levels, center, width, False, tolerance=1e-6)


def centers(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Finds a finite center and width, from which to search a distribution."""
    one = tf.ones_like(mean)
    width = tf.where(tf.math.is_finite(variance), tf.sqrt(variance), one)
    center = tf.where(tf.math.is_finite(mean), mean, tf.zeros_like(mean))
    return center, tf.maximum(width, 1e-6 * (one + tf.abs(center)))


def cdf_of(likelihood: Likelihood, outputs: Tensor) -> Cdf:
    """Makes the distribution function of the mixture over draws."""
    marginals, mapped = likelihood.marginals(outputs), likelihood.of_mixture

    def cdf(values: Tensor) -> Tensor:
        if not likelihood.is_discrete:
            levels = mixture_cdf(marginals, values)
            return levels if mapped is None else mapped.levels(levels)
        # TFP continues the functions of counts to the left of zero.
        at_zero = mixture_cdf(marginals, tf.maximum(values, 0.0))
        return tf.where(values < 0, tf.zeros_like(at_zero), at_zero)

    return cdf


def integrated_crps(
    likelihood: Likelihood,
    outputs: Tensor,
    y: Tensor,
    center: Tensor,
    width: Tensor,
    top: int,
) -> Tensor:
    """Computes the CRPS of any mixture from its distribution function.

    Args:
        likelihood: the likelihood of the outputs.
        outputs: the outputs at each draw, `[S, n, .., P]`.
        y: the targets, `[n, .., k]`.
        center: where the search for quantiles starts, `[n, .., k]`.
        width: the length of its first step, `[n, .., k]`.
        top: for counts, as in `quadrature.discrete_crps`.
    """

    def edges(cdf: Cdf) -> Tensor:
        return quantile(
            cdf, quadrature.BREAKS, center, width, False, tolerance=1e-6
        )

    cdf = cdf_of(likelihood, outputs)
    if likelihood.is_discrete:
        return quadrature.discrete_crps(cdf, y, edges, top)
    return quadrature.crps(cdf, y, edges(cdf))
