"""Scores predictions against targets: takes predictions or arrays.

Each metric is `f(y_true, y_pred, *, sample_weight, n_boot, seed, level)`, with
options of its own. `y_pred` is a `Predictive`, which brings its mask and labels
to ignore, or arrays. With `n_boot` it gives an `Estimate`, a float with an
interval; `compare` tells two models apart on the same rows.

To add one: `rows` and `labels` read what was given as flat rows that are
checked, and `bootstrap` makes the score and its interval of them; put the
function in the file of its kind, its name below, a test in tests/metrics, and a
line in docs/judging.md.

(`crps.py` works on distribution functions in TensorFlow, a few rows at a time.)
"""

from tfpbnn.metrics.bootstrap import Comparison, Estimate, compare
from tfpbnn.metrics.calibration import calibration_curve, calibration_error
from tfpbnn.metrics.classification import accuracy, brier, ece
from tfpbnn.metrics.regression import coverage, rmse
from tfpbnn.metrics.uncertainty import uncertainty
from tfpbnn.metrics.weights import mean

__all__ = [
    "Comparison",
    "Estimate",
    "accuracy",
    "brier",
    "calibration_curve",
    "calibration_error",
    "compare",
    "coverage",
    "ece",
    "mean",
    "rmse",
    "uncertainty",
]
