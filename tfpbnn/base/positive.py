"""Transforms positive parameters, and computes where they start."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfpbnn.base.types import Tensor


def positive(untransformed: Tensor) -> Tensor:
    """Computes scales from untransformed scales."""
    return SCALE_FLOOR + tf.math.softplus(untransformed)


def untransformed(scale: Tensor | float) -> Tensor:
    """Computes the inverse of softplus, stable for small and large scales.

    It is `tfp.math.softplus_inverse` without the second that its import takes.
    """
    scale = tf.convert_to_tensor(scale)
    return scale + tf.math.log(-tf.math.expm1(-scale))


def he(shape: Sequence[int]) -> float:
    """Computes He's standard deviation, `sqrt(2 / fan_in)`.

    Fan-in is defined as in Keras's initializers, by all axes but the last.
    """
    fan_in = math.prod(shape[:-1]) if len(shape) > 1 else math.prod(shape)
    return math.sqrt(2.0 / max(1, fan_in))


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Computes the shape `[inputs, units]` of weights seen as a matrix.

    The last axis are the units.
    """
    *inputs, units = shape
    return math.prod(inputs), units


# As in TFP: scale = SCALE_FLOOR + softplus(untransformed_scale).
SCALE_FLOOR = 1.1920929e-07
