"""Scores predictions against targets: takes NumPy arrays, returns numbers.

All scores raise a `ValueError` if targets are NaN or infinite, and take
`sample_weight` for a weighted mean. To add one: a function in the file of its
kind (a new kind, such as out-of-distribution scores, is a new file), its name
below, a test in tests/metrics, and a method in `prediction/results` that calls
it with what a prediction knows.

(`crps.py` works on distribution functions in TensorFlow, a few rows at a time.
The nll of a prediction comes from its likelihood: `Predictive.log_prob`.)
"""

from tfpbnn.metrics.calibration import calibration_curve, calibration_error
from tfpbnn.metrics.classification import accuracy, brier, ece
from tfpbnn.metrics.regression import coverage, rmse
from tfpbnn.metrics.uncertainty import uncertainty
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
    "uncertainty",
]
