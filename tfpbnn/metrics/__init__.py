"""Scores predictions against targets: takes predictions or arrays.

Each metric is `f(y_true, y_pred, *, sample_weight, n_boot, seed, level)`, with
options of its own. `y_pred` is a `Predictive`, which brings its mask and labels
to ignore, or arrays. With `n_boot` it gives an `Estimate`, a float with an
interval; `compare` tells two models apart on the same rows. `streaming` has
those that Keras computes batch by batch.

To add one: `rows` and `labels` read what was given as flat rows that are
checked, and `bootstrap` makes the score and its interval of them; put the
function in the file of its kind, its name below, a test in tests/metrics, and a
line in docs/judging.md.

(`crps.py` works on distribution functions in TensorFlow, a few rows at a time.)
"""

from tfpbnn.metrics import streaming
from tfpbnn.metrics.bootstrap import Comparison, Estimate, compare
from tfpbnn.metrics.calibration import calibration_curve, calibration_error
from tfpbnn.metrics.classification import (
    BrierParts,
    accuracy,
    brier,
    brier_parts,
    nll,
)
from tfpbnn.metrics.ece import ace, ece, mce
from tfpbnn.metrics.grouping import grouping_loss
from tfpbnn.metrics.regression import coverage, rmse
from tfpbnn.metrics.segmentation import PatchScores, mean_iou, pavpu
from tfpbnn.metrics.sets import set_coverage, set_size
from tfpbnn.metrics.smooth_ece import smooth_ece
from tfpbnn.metrics.votes import disagreement, variation_ratio
from tfpbnn.metrics.weights import mean

__all__ = [
    "BrierParts",
    "Comparison",
    "Estimate",
    "PatchScores",
    "accuracy",
    "ace",
    "brier",
    "brier_parts",
    "calibration_curve",
    "calibration_error",
    "compare",
    "coverage",
    "disagreement",
    "ece",
    "grouping_loss",
    "mce",
    "mean",
    "mean_iou",
    "nll",
    "pavpu",
    "rmse",
    "set_coverage",
    "set_size",
    "smooth_ece",
    "streaming",
    "variation_ratio",
]
