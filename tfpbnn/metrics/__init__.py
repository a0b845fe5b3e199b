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

(`quadrature.py` works on distribution functions in TensorFlow, a few rows at a
time; `samples.py` and `ranking_curves.py` on flat arrays.)
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
from tfpbnn.metrics.intervals import (
    coverage,
    interval_score,
    sharpness,
    weighted_interval_score,
)
from tfpbnn.metrics.ranking import aupr, auroc, fpr_at_tpr, in_and_out
from tfpbnn.metrics.regression import (
    crps,
    energy_score,
    mae,
    pinball,
    rmse,
    variogram_score,
)
from tfpbnn.metrics.segmentation import PatchScores, mean_iou, pavpu
from tfpbnn.metrics.selection import (
    augrc,
    aurc,
    coverage_at_risk,
    risk_at_coverage,
    risk_coverage_curve,
    scod_aurc,
)
from tfpbnn.metrics.sets import set_coverage, set_size
from tfpbnn.metrics.smooth_ece import smooth_ece
from tfpbnn.metrics.sparsification import ause, sparsification_curve
from tfpbnn.metrics.uncertainty import uncertainty
from tfpbnn.metrics.uniformity import (
    pit,
    pit_uniformity,
    regression_calibration_error,
)
from tfpbnn.metrics.votes import disagreement, variation_ratio
from tfpbnn.metrics.weights import mean

__all__ = [
    "BrierParts",
    "Comparison",
    "Estimate",
    "PatchScores",
    "accuracy",
    "ace",
    "augrc",
    "aupr",
    "aurc",
    "auroc",
    "ause",
    "brier",
    "brier_parts",
    "calibration_curve",
    "calibration_error",
    "compare",
    "coverage",
    "coverage_at_risk",
    "crps",
    "disagreement",
    "ece",
    "energy_score",
    "fpr_at_tpr",
    "grouping_loss",
    "in_and_out",
    "interval_score",
    "mae",
    "mce",
    "mean",
    "mean_iou",
    "nll",
    "pavpu",
    "pinball",
    "pit",
    "pit_uniformity",
    "regression_calibration_error",
    "risk_at_coverage",
    "risk_coverage_curve",
    "rmse",
    "scod_aurc",
    "set_coverage",
    "set_size",
    "sharpness",
    "smooth_ece",
    "sparsification_curve",
    "streaming",
    "uncertainty",
    "variation_ratio",
    "variogram_score",
    "weighted_interval_score",
]
