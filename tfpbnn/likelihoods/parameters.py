"""Makes the parameters of distributions, and says what targets may be."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks
from tfpbnn.base.positive import untransformed
from tfpbnn.base.types import Tensor

_SCALE_FLOOR = 1e-6


def positive(raw: Tensor) -> Tensor:
    """Makes scales of raw outputs, by softplus and a small floor."""
    return _SCALE_FLOOR + tf.math.softplus(raw)


def raw_of(scale: Tensor) -> Tensor:
    """Finds the raw outputs of scales; of those below the floor, its own."""
    least = tf.constant(np.finfo(np.float32).tiny, scale.dtype)
    return untransformed(tf.maximum(scale - _SCALE_FLOOR, least))


class Support(NamedTuple):
    """The values that targets may have: numbers from `low` to `high`."""

    words: str  # for errors
    low: float = -math.inf
    high: float = math.inf


def check_fixed(name: str, value: float | None) -> float | None:
    """Checks a fixed parameter; None where the model gives it."""
    return checks.positive_number.optional(
        name, value, "an output of the model"
    )
