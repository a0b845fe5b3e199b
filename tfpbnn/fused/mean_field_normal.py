"""Fuses the mean-field Normal's passes over the weights.

A training step reads and writes every weight many times; as graph operations
that is most of its time (benchmarks/README.md). Here each pass is compiled into
one loop and its gradient is written in closed form; in training the KL and its
gradient come out of the estimator's own pass. `families` has the plain form,
which tests hold together with this one. Exports need it, as model servers have
no XLA: passes are fused only inside of `enabled`, which layers open.
"""

from typing import Any

import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.positive import SCALE_FLOOR
from tfpbnn.base.types import Tensor
from tfpbnn.fused.mode import VARIANCE_FLOOR, compiled


def _scale_and_slope(untransformed: Tensor) -> tuple[Tensor, Tensor]:
    """Computes softplus (with its floor) and sigmoid, from one exponential.

    log1p(t) is 2 artanh(t / (2 + t)), whose argument is at most 1/3: seven
    terms of the series are exact to float32, and twice as fast as `log1p`.
    """
    t = tf.exp(-tf.abs(untransformed))
    ratio = t / (2 + t)
    square = ratio * ratio
    series = tf.fill([], tf.constant(1 / 13, t.dtype))
    for odd in (11, 9, 7, 5, 3, 1):
        series = series * square + tf.constant(1 / odd, t.dtype)
    scale = SCALE_FLOOR + tf.nn.relu(untransformed) + 2 * ratio * series
    return scale, tf.where(untransformed >= 0, tf.ones_like(t), t) / (1 + t)


@compiled
def _sample(loc: Tensor, untransformed: Tensor, key: Tensor) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    standard = random.fast_normal(key, loc.shape)
    return loc + scale * standard, slope * standard


def _kl_terms(
    loc: Tensor, scale: Tensor, slope: Tensor, precision: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes the KL to a Normal about zero, and its gradient.

    The KL lacks its constants, and the gradient is that by the untransformed
    scale. The KL is summed over the last axis only: XLA adds one by one, and a
    float32 sum over a large kernel would lose digits. The caller adds up the
    rest.
    """
    squares = tf.square(scale) + tf.square(loc)
    rows = tf.reduce_sum(
        0.5 * precision * squares - tf.math.log(scale), axis=-1
    )
    return rows, (precision * scale - 1 / scale) * slope


@compiled
def _sample_and_kl(
    loc: Tensor, untransformed: Tensor, key: Tensor, precision: Tensor
) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    standard = random.fast_normal(key, loc.shape)
    rows, d_kl = _kl_terms(loc, scale, slope, precision)
    return loc + scale * standard, slope * standard, rows, d_kl


@compiled
def _noise_and_kl(
    loc: Tensor, untransformed: Tensor, key: Tensor, precision: Tensor
) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    standard = random.fast_normal(key, loc.shape)
    rows, d_kl = _kl_terms(loc, scale, slope, precision)
    return scale * standard, slope * standard, rows, d_kl


@compiled
def normal_variance(untransformed: Tensor) -> Tensor:
    """Computes `scale**2` alone, where no KL is asked for."""
    scale, _ = _scale_and_slope(untransformed)
    return tf.square(scale)


@compiled
def _variance_and_kl(
    loc: Tensor, untransformed: Tensor, precision: Tensor
) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    rows, d_kl = _kl_terms(loc, scale, slope, precision)
    return tf.square(scale), 2 * scale * slope, rows, d_kl


@compiled
def _kl(loc: Tensor, untransformed: Tensor, precision: Tensor) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    squares = tf.reduce_sum(tf.square(scale) + tf.square(loc), axis=-1)
    return *_kl_terms(loc, scale, slope, precision), squares


@compiled
def _combine(
    d_value: Tensor,
    slope: Tensor,
    d_kl: Tensor,
    d_loc: Tensor,
    loc: Tensor,
    upstream: Tensor,
    precision: Tensor,
) -> Any:
    """Adds up the gradients of an estimator and of the KL, in one pass."""
    return (
        d_loc + (upstream * precision) * loc,
        d_value * slope + upstream * d_kl,
    )


@compiled
def _perturbed(mean: Tensor, variance: Tensor, key: Tensor) -> Any:
    size = mean.shape[1:].num_elements()
    rows = tf.range(tf.shape(mean)[0])
    # Not `random.normal`'s numbers: philox's bits would take twice the time.
    words = random.fast_grid_bits(key[tf.newaxis], rows, size)
    standard = tf.reshape(random.fast_normal_from_bits(words), tf.shape(mean))
    variance += VARIANCE_FLOOR
    # One output is made of the other, or XLA would draw once for each.
    slope = 0.5 * tf.math.rsqrt(variance) * standard
    return mean + 2 * variance * slope, slope


@tf.custom_gradient
def normal_sample(loc: Tensor, untransformed: Tensor, key: Tensor) -> Any:
    """Draws `loc + scale * random.normal(key)`."""
    sample, slope = _sample(loc, untransformed, key)
    return sample, lambda upstream: (upstream, upstream * slope, None)


@tf.custom_gradient
def normal_sample_and_kl(
    loc: Tensor, untransformed: Tensor, key: Tensor, precision: Tensor
) -> Any:
    """Draws the weights, and computes the KL without constants.

    The KL to Normal(0, precision^-1/2) is, but for constants,
    `0.5 * precision * sum(scale^2 + loc^2) - sum(log(scale))`.
    """
    sample, slope, rows, d_kl = _sample_and_kl(
        loc, untransformed, key, precision
    )

    def grad(d_sample: Tensor, upstream: Tensor) -> Any:
        gradients = _combine(
            d_sample, slope, d_kl, d_sample, loc, upstream, precision
        )
        return *gradients, None, None

    return (sample, tf.reduce_sum(rows)), grad


@tf.custom_gradient
def normal_noise_and_kl(
    loc: Tensor, untransformed: Tensor, key: Tensor, precision: Tensor
) -> Any:
    """Computes loc, noise, and the KL of `normal_sample_and_kl`.

    The noise is `scale * random.normal(key)`. loc is returned too, so that all
    its gradients meet here.
    """
    noise, slope, rows, d_kl = _noise_and_kl(loc, untransformed, key, precision)

    def grad(d_loc: Tensor, d_noise: Tensor, upstream: Tensor) -> Any:
        gradients = _combine(
            d_noise, slope, d_kl, d_loc, loc, upstream, precision
        )
        return *gradients, None, None

    return (tf.identity(loc), noise, tf.reduce_sum(rows)), grad


@tf.custom_gradient
def normal_variance_and_kl(
    loc: Tensor, untransformed: Tensor, precision: Tensor
) -> Any:
    """Computes loc, `scale**2`, and the KL of `normal_sample_and_kl`."""
    variance, slope, rows, d_kl = _variance_and_kl(
        loc, untransformed, precision
    )

    def grad(d_loc: Tensor, d_variance: Tensor, upstream: Tensor) -> Any:
        gradients = _combine(
            d_variance, slope, d_kl, d_loc, loc, upstream, precision
        )
        return *gradients, None

    return (tf.identity(loc), variance, tf.reduce_sum(rows)), grad


@tf.custom_gradient
def normal_kl(loc: Tensor, untransformed: Tensor, precision: Tensor) -> Any:
    """Computes the KL of `normal_sample_and_kl` on its own."""
    rows, d_kl, squares = _kl(loc, untransformed, precision)

    def grad(upstream: Tensor) -> Any:
        return (
            (upstream * precision) * loc,
            upstream * d_kl,
            0.5 * upstream * tf.reduce_sum(squares),
        )

    return tf.reduce_sum(rows), grad


@tf.custom_gradient
def add_noise(mean: Tensor, variance: Tensor, key: Tensor) -> Any:
    """Draws `mean + sqrt(variance + VARIANCE_FLOOR) * eps`, normal eps."""
    result, slope = _perturbed(mean, variance, key)
    return result, lambda upstream: (upstream, upstream * slope, None)
