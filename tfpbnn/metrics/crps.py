"""The continuous ranked probability score, from distribution functions."""

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
    """The continuous ranked probability score: integral of (F - 1{z >= y})^2.

    By Gauss-Legendre quadrature between quantiles of F, split at y.

    Args:
        cdf: takes and gives `[Q, n, .., k]`.
        y: targets, `[n, .., k]`.
        edges: about the quantiles of F at the levels `BREAKS`.
        lowest: where the integral begins.

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
    """The score of counts: the sum over z of (F(z) - 1{z >= y})^2.

    Args:
        cdf: takes and gives `[Q, n, .., k]`; smooth between large counts.
        y: counts, `[n, .., k]`.
        edges: finds the edges that `crps` takes, for any function.
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
