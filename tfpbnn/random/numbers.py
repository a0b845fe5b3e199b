"""Makes the random numbers of one call, of any distribution."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.random.normals import bits, normal


class RandomNumbers:
    """Random numbers of any distribution, which broadcast to an input.

    They are made of one key, so ask for one distribution only, and once.

    Args:
        key: the key, `[2]`; None if there are normals.
        sizes: the shape of the random numbers; None if there are normals.
        normals: the normals of a scope's draws, from which the other random
            numbers are then made.
    """

    def __init__(
        self,
        key: Tensor | None,
        sizes: Any = None,
        normals: Tensor | None = None,
    ):
        self._key = key
        self._sizes = sizes
        self._normals = normals

    def normal(self, dtype: Any) -> Tensor:
        """Returns standard normals."""
        if self._normals is None:
            return normal(self._key, self._sizes, dtype)
        return tf.cast(self._normals, dtype)

    def kept(self, rate: float, dtype: Any) -> Tensor:
        """Returns 0 with probability `rate`, to 2^-23 at least; else 1."""
        if self._normals is None:
            words = bits(self._key, self._sizes)
            threshold = tf.constant(round(rate * 2**32), tf.uint32)
            return tf.cast(words >= threshold, dtype)
        threshold = tf.math.ndtri(tf.constant(rate, tf.float32))
        return tf.cast(self._normals >= threshold, dtype)

    def logistic(self) -> Tensor:
        """Returns standard logistic numbers, in float32."""
        normals = self._normals
        if normals is None:
            words = tf.bitwise.right_shift(
                bits(self._key, self._sizes), tf.constant(9, tf.uint32)
            )
            # Midpoints of cells: never 0 or 1.
            uniforms = (tf.cast(words, tf.float32) + 0.5) * 2.0**-23
            return tf.math.log(uniforms) - tf.math.log1p(-uniforms)
        half = normals / math.sqrt(2.0)
        return tf.math.log(tf.math.erfc(-half)) - tf.math.log(
            tf.math.erfc(half)
        )
