"""Scores of predictions against targets: NumPy arrays in, numbers out.

All raise a `ValueError` at NaN or infinite targets. To add one: a function in
the file of its kind (regression, classification, calibration; a new kind, such
as out-of-distribution scores, is a new file), and its name below.
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
