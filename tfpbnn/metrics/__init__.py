"""Scores of predictions against targets: NumPy arrays in, numbers out.

All raise a `ValueError` at NaN or infinite targets, and take `sample_weight`
for a weighted mean. To add one: a function in
the file of its kind (a new kind, such as out-of-distribution scores, is a new
file), its name below, a test in tests/metrics, and a method in
`prediction/results` that calls it with what a prediction knows.

(`crps.py` works on distribution functions in TensorFlow, a few rows at a time.
The nll of a prediction is the likelihood's: `Predictive.log_prob`.)
"""

from tfpbnn.metrics.calibration import calibration_curve, calibration_error
from tfpbnn.metrics.classification import accuracy, brier, ece
from tfpbnn.metrics.regression import coverage, rmse
from tfpbnn.metrics.weights import mean

__all__ = [
    "accuracy",
    "brier",
    "calibration_curve",
    "calibration_error",
    "coverage",
    "ece",
    "mean",
    "rmse",
]
