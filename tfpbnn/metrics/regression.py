"""Scores of predictions of numbers."""

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.types import Array


def rmse(y: Array, mean: Array) -> float:
    """Root mean squared error, in the units of y.

    Args:
        y: targets, any shape.
        mean: predictions of the same shape.
    """
    check_finite("y", y)
    return float(np.sqrt(np.mean(np.square(y - mean))))


def coverage(y: Array, lower: Array, upper: Array) -> float:
    """The share of targets inside of their intervals, ends included.

    Args:
        y: targets, any shape.
        lower: lower ends, of the same shape.
        upper: upper ends, of the same shape.
    """
    check_finite("y", y)
    return float(np.mean((y >= lower) & (y <= upper)))
