"""Draws normals, signs and bits by Philox, for one key at a time."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor

_ALG = "philox"
_SQRT2 = math.sqrt(2.0)
# z / (2 u - 1) of a normal quantile z at u, as a polynomial in
# sqrt(4 - log(4 u (1 - u))) - 3.1875: a least-squares fit of the ratio on
# Chebyshev nodes, 1.5e-6 off at most.
_QUANTILE = (
    3.27849139,
    1.78162914,
    -0.095433251,
    -0.0204808928,
    0.0606302419,
    -0.0490201064,
    0.0106521618,
    0.0162043727,
    -0.0106592671,
    -0.00188232935,
    0.00212803983,
)


def bits(key: Tensor, shape: Any, dtype: Any = tf.uint32) -> Tensor:
    """Draws uniform integers over the whole range of `dtype`."""
    return tf.random.stateless_uniform(
        shape, key, minval=None, maxval=None, dtype=dtype, alg=_ALG
    )


def normal_from_bits(words: Tensor) -> Tensor:
    """Makes standard normals of random words, by inversion.

    Words of uint32 give float32, those of uint64 give float64. The uniforms
    are the midpoints of cells that are `2^-23` (`2^-52`) wide, so they are
    never 0 or 1, and symmetric about 1/2: |z| stays below 5.4 (8.2).
    """
    wide = words.dtype == tf.uint64
    integer, floating, kept = (
        (tf.int64, tf.float64, 52) if wide else (tf.int32, tf.float32, 23)
    )
    drop = tf.constant(words.dtype.size * 8 - kept, words.dtype)
    cells = tf.cast(
        tf.bitcast(tf.bitwise.right_shift(words, drop), integer), floating
    )
    # 2 u - 1, exactly: the cells and the halves are small integers.
    return _SQRT2 * tf.math.erfinv(
        (cells + 0.5) * (2.0 ** (1 - kept)) - tf.ones((), floating)
    )


def fast_normal_from_bits(words: Tensor) -> Tensor:
    """Makes the normals of `normal_from_bits`, of uint32 words, under XLA only.

    One logarithm and one polynomial take half the time of `erfinv` in a
    compiled loop, but several times its time as operations of a graph.
    """
    cells = tf.bitwise.right_shift(words, tf.constant(9, tf.uint32))
    twice = tf.cast(tf.bitcast(cells, tf.int32), tf.float32) + 0.5
    twice *= 2.0**-22  # 2 u
    x = tf.sqrt(4.0 - tf.math.log(twice * (2.0 - twice))) - 3.1875
    ratio = tf.fill([], _QUANTILE[-1])
    for coefficient in _QUANTILE[-2::-1]:
        ratio = ratio * x + coefficient
    return (twice - 1.0) * ratio


def fast_normal(key: Tensor, shape: Any) -> Tensor:
    """Draws `normal(key, shape)` in float32; to be called under XLA only.

    There the bits too are made in whatever loop uses the normals.
    """
    return fast_normal_from_bits(bits(key, shape))


def normal(key: Tensor, shape: Any, dtype: Any = tf.float32) -> Tensor:
    """Draws standard normals of a shape; half precision is drawn in float32."""
    dtype = tf.as_dtype(dtype)
    word = tf.uint64 if dtype == tf.float64 else tf.uint32
    return tf.cast(normal_from_bits(bits(key, shape, word)), dtype)


def signs(key: Tensor, shape: Any, dtype: Any = tf.float32) -> Tensor:
    """Draws independent signs, +1 or -1 with probability 1/2.

    Each takes one random bit.
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    size = tf.reduce_prod(shape)
    words = bits(key, [(size + 63) // 64], tf.uint64)
    octets = tf.reshape(tf.bitcast(words, tf.uint8), [-1, 1])
    masks = tf.constant([[1, 2, 4, 8, 16, 32, 64, 128]], tf.uint8)
    heads = tf.bitwise.bitwise_and(octets, masks) != tf.constant(0, tf.uint8)
    flat = tf.reshape(tf.cast(heads, dtype), [-1])[:size] * 2 - 1
    return tf.reshape(flat, shape)
