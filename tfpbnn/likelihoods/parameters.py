"""Makes the parameters of distributions, and says what targets may be."""

import math
from typing import NamedTuple

import tensorflow as tf

from tfpbnn.base import checks
from tfpbnn.base.types import Tensor

_SCALE_FLOOR = 1e-6


def positive(raw: Tensor) -> Tensor:
    """Makes scales of raw outputs, by softplus and a small floor."""
    return _SCALE_FLOOR + tf.math.softplus(raw)


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
