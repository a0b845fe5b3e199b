"""Scores of predictions of numbers."""

from typing import Any

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.types import Array
from tfpbnn.metrics import weights


def rmse(y: Array, mean: Array, sample_weight: Any = None) -> float:
    """Root mean squared error, in the units of y.

    Args:
        y: targets, any shape.
        mean: predictions of the same shape.
        sample_weight: weights with the first axes of y, for a weighted mean.
    """
    check_finite("y", y)
    return float(np.sqrt(weights.mean(np.square(y - mean), sample_weight)))


def coverage(
    y: Array, lower: Array, upper: Array, sample_weight: Any = None
) -> float:
    """The share of targets inside of their intervals, ends included.

    Args:
        y: targets, any shape.
        lower: lower ends, of the same shape.
        upper: upper ends, of the same shape.
        sample_weight: weights with the first axes of y, for a weighted mean.
    """
    check_finite("y", y)
    return weights.mean((y >= lower) & (y <= upper), sample_weight)
