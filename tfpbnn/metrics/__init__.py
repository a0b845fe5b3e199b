"""Scores of predictions: NumPy arrays in, numbers out.

All raise a `ValueError` at NaN or infinite targets. To add one: a function in
the file of its kind, its name below, and a row of the table in
tests/metrics.
"""

from tfpbnn.metrics.calibration import calibration_curve, calibration_error
from tfpbnn.metrics.classification import accuracy, brier, ece
from tfpbnn.metrics.regression import coverage, rmse

__all__ = [
    "accuracy",
    "brier",
    "calibration_curve",
    "calibration_error",
    "coverage",
    "ece",
    "rmse",
]
