"""Computes the CRPS from distribution functions."""

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor

# A distribution function that takes and gives `[Q, n, .., k]`.
Cdf = Callable[[Tensor], Tensor]
# Between these quantiles a distribution function is smooth enough for a few
# nodes; the ends leave out 1e-6.
BREAKS = np.array([1e-6, 1e-3, 0.05, 0.3, 0.7, 0.95, 1 - 1e-3, 1 - 1e-6])
# Counts up to here are summed one by one.
_SUMMED = 1000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def crps(cdf: Cdf, y: Tensor, edges: Tensor, lowest: float = -np.inf) -> Tensor:
    """Computes the CRPS, the integral of (F - 1{z >= y})^2.

    This is the continuous ranked probability score. The integral is done by
    Gauss-Legendre quadrature between quantiles of F, split at y.

    Args:
        cdf: the distribution function F, from `[Q, n, .., k]` to the same
            shape.
        y: the targets, `[n, .., k]`.
        edges: the approximate quantiles of F at the levels `BREAKS`.
        lowest: the lower end of the integral.

    Reference:
        [Gneiting and Raftery, 2007](https://doi.org/10.1198/016214506000001437)
    """
    inside = tf.clip_by_value(y, edges[0], edges[-1])
    score = tf.abs(tf.maximum(y, lowest) - tf.maximum(inside, lowest))
    ends = tf.sort(tf.concat([edges, inside[tf.newaxis]], axis=0), axis=0)
    ends = tf.maximum(ends, lowest)
    for start, stop in itertools.pairwise(tf.unstack(ends)):
        half = 0.5 * (stop - start)
        shape = [len(_NODES)] + [1] * len(half.shape)
        nodes = tf.reshape(tf.constant(_NODES, half.dtype), shape)
        weights = tf.reshape(tf.constant(_WEIGHTS, half.dtype), shape)
        f = cdf(start + half * (nodes + 1))
        integrand = tf.where(start >= inside, tf.square(1 - f), tf.square(f))
        score += half * tf.reduce_sum(weights * integrand, axis=0)
    return score


def discrete_crps(
    cdf: Cdf, y: Tensor, edges: Callable[[Cdf], Tensor], top: int
) -> Tensor:
    """Computes the CRPS of counts: the sum over z of (F(z) - 1{z >= y})^2.

    Args:
        cdf: the distribution function F, from `[Q, n, .., k]` to the same
            shape, which is smooth between large counts.
        y: the counts, `[n, .., k]`.
        edges: a function that finds the `edges` of `crps` for a `cdf`.
        top: a count beyond all targets and all but 1e-6 of the probability.
    """
    score = tf.zeros_like(y)
    summed = min(top + 1, _SUMMED)
    for z in range(summed):
        f = cdf(tf.fill([1, *y.shape], tf.cast(z, y.dtype)))[0]
        score += tf.square(f - tf.cast(z >= y, y.dtype))
    if summed > top:
        return score
    # A sum over large counts is an integral over cells with z in the middle.

    def shifted(values: Tensor) -> Tensor:
        return cdf(values - 0.5)

    return score + crps(shifted, y, edges(shifted), summed)
