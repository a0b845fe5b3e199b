"""Computes the CRPS of distributions that have a closed form for it.

The continuous ranked probability score is E|Y - y| less half E|Y - Y'|.

Reference:
    [Jordan et al., 2019](https://doi.org/10.18637/jss.v090.i12)
"""

from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.likelihoods import standard
from tfpbnn.likelihoods.standard import Standard


def location_scale(form: Standard, distribution: Any, y: Tensor) -> Tensor:
    """Computes the CRPS of a distribution of a location and a scale."""
    u = (y - distribution.loc) / distribution.scale
    return distribution.scale * (form.distance(u) - form.half_distance)


def student_t(distribution: Any, y: Tensor) -> Tensor:
    """Computes the CRPS of Student's t, for any degrees of freedom above 1."""
    df, scale = distribution.df, distribution.scale
    u = (y - distribution.loc) / scale
    unit = distribution.copy(loc=tf.zeros_like(df), scale=tf.ones_like(df))
    centered = unit.cdf(u) - 0.5
    rest = (df + u * u) / (df - 1) * unit.prob(u)
    log_gap = (
        _log_beta(0.5, df - 0.5)
        - 2 * _log_beta(0.5, 0.5 * df)
        + 0.5 * tf.math.log(df)
    )
    half_distance = 2 * tf.exp(log_gap) / (df - 1)
    return scale * (2 * (u * centered + rest) - half_distance)


def mixture_normal(distribution: Any, y: Tensor) -> Tensor:
    """Computes the CRPS of a mixture of Normals, on the last axis."""
    parts = distribution.components_distribution
    weight = tf.nn.softmax(distribution.mixture_distribution.logits, axis=-1)
    loc, scale = parts.loc, parts.scale

    def distance(gap: Tensor, width: Tensor) -> Tensor:
        return width * standard.NORMAL.distance(gap / width)

    to_y = tf.reduce_sum(
        weight * distance(y[..., tf.newaxis] - loc, scale), axis=-1
    )
    first, second = (..., tf.newaxis, slice(None)), (..., tf.newaxis)
    pairs = distance(
        loc[first] - loc[second],
        tf.sqrt(scale[first] ** 2 + scale[second] ** 2),
    )
    pairs *= weight[first] * weight[second]
    return to_y - 0.5 * tf.reduce_sum(pairs, axis=[-2, -1])


def poisson(distribution: Any, y: Tensor) -> Tensor:
    """Computes the CRPS of a Poisson distribution."""
    rate = distribution.rate_parameter()
    bessel = tf.math.bessel_i0e(2 * rate) + tf.math.bessel_i1e(2 * rate)
    above = 2 * distribution.cdf(y) - 1
    return (y - rate) * above + rate * (2 * distribution.prob(y) - bessel)


def _log_beta(a: Any, b: Tensor) -> Tensor:
    a = tf.constant(a, b.dtype)
    return tf.math.lgamma(a) + tf.math.lgamma(b) - tf.math.lgamma(a + b)
