"""The mean-field Normal's passes over the weights, each one XLA function.

A training step reads and writes every weight many times; as graph operations
that is most of its time (benchmarks/README.md). Here each pass is compiled
into one loop and its gradient is written in closed form. `families.py` has
the plain form, which tests hold together with this one. Exports need the plain
form, since the model server runs without XLA: so the draws are fused only
inside of `enabled`, which layers open when training.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfpbnn.random import normal_from_bits
from tfpbnn.types import Tensor

# Below this many weights a compilation costs more than its loops save.
MIN_SIZE = 2**14
# As in TFP: scale = SCALE_FLOOR + softplus(untransformed_scale).
SCALE_FLOOR = 1.1920929e-07

_local = threading.local()


@contextlib.contextmanager
def enabled(value: bool) -> Iterator[None]:
    """Allows the draws of large float32 kernels to be fused."""
    outer = getattr(_local, "enabled", False)
    _local.enabled = value
    try:
        yield
    finally:
        _local.enabled = outer


def applies(untransformed_scale: Tensor) -> bool:
    """Whether `untransformed_scale` is of the kind that fusing pays for."""
    size = untransformed_scale.shape.num_elements()
    return untransformed_scale.dtype == tf.float32 and size >= MIN_SIZE


def is_enabled(untransformed_scale: Tensor) -> bool:
    """Whether a draw with this scale is to be fused here and now."""
    return getattr(_local, "enabled", False) and applies(untransformed_scale)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True, autograph=False)


def _scale_and_slope(untransformed: Tensor) -> tuple[Tensor, Tensor]:
    """Softplus (with its floor) and sigmoid, from one exponential.

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


@_compiled
def _sample(loc: Tensor, untransformed: Tensor, words: Tensor) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    standard = normal_from_bits(words)
    return loc + scale * standard, slope * standard


@_compiled
def _noise(untransformed: Tensor, words: Tensor) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    standard = normal_from_bits(words)
    return scale * standard, slope * standard


@_compiled
def _variance(untransformed: Tensor) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    return tf.square(scale), 2 * scale * slope


@_compiled
def _kl(offset: Tensor, untransformed: Tensor, prior_scale: Tensor) -> Any:
    scale, slope = _scale_and_slope(untransformed)
    precision = 1 / tf.square(prior_scale)
    # Sums over the last axis only: XLA adds one by one, and a float32 sum over
    # a large kernel would lose digits. The caller adds up the rest.
    squares = tf.reduce_sum(tf.square(scale) + tf.square(offset), axis=-1)
    logs = tf.reduce_sum(tf.math.log(scale), axis=-1)
    return squares, logs, (precision * scale - 1 / scale) * slope


@_compiled
def _perturbed(mean: Tensor, variance: Tensor, words: Tensor) -> Any:
    standard = normal_from_bits(words)
    inverse = tf.math.rsqrt(variance)
    return mean + variance * inverse * standard, 0.5 * inverse * standard


@tf.custom_gradient
def normal_sample(loc: Tensor, untransformed: Tensor, words: Tensor) -> Any:
    """`loc + scale * normal_from_bits(words)`."""
    sample, slope = _sample(loc, untransformed, words)
    return sample, lambda upstream: (upstream, upstream * slope, None)


@tf.custom_gradient
def normal_noise(untransformed: Tensor, words: Tensor) -> Any:
    """`scale * normal_from_bits(words)`."""
    noise, slope = _noise(untransformed, words)
    return noise, lambda upstream: (upstream * slope, None)


@tf.custom_gradient
def normal_variance(untransformed: Tensor) -> Any:
    """`scale**2`."""
    variance, slope = _variance(untransformed)
    return variance, lambda upstream: upstream * slope


@tf.custom_gradient
def perturbed(mean: Tensor, variance: Tensor, words: Tensor) -> Any:
    """`mean + sqrt(variance) * normal_from_bits(words)`, variance > 0."""
    result, slope = _perturbed(mean, variance, words)
    return result, lambda upstream: (upstream, upstream * slope, None)


@tf.custom_gradient
def normal_kl(
    offset: Tensor, untransformed: Tensor, prior_scale: Tensor
) -> Any:
    """KL of independent Normals to a prior Normal with one scale.

    `offset` is `loc` less the prior's loc. The gradients come out of the same
    pass as the value.
    """
    squares, logs, slope = _kl(offset, untransformed, prior_scale)
    squares, logs = tf.reduce_sum(squares), tf.reduce_sum(logs)
    size = tf.cast(tf.size(offset), offset.dtype)
    precision = 1 / tf.square(prior_scale)
    constant = size * (tf.math.log(prior_scale) - 0.5)
    kl = 0.5 * precision * squares - logs + constant

    def grad(upstream: Tensor) -> Any:
        d_scale = size / prior_scale - squares / prior_scale**3
        return (
            (upstream * precision) * offset,
            upstream * slope,
            upstream * d_scale,
        )

    return kl, grad
