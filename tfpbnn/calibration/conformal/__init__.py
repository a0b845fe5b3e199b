"""Sets of labels and intervals with a coverage that holds for any model.

A conformal predictor scores how badly held-out targets fit their predictions.
Its sets have all targets in them that fit no worse than a share of these did.
To add one: a subclass of `sets.LabelSets` or `intervals.Intervals` with its
score, registered as of "calibration"; its name here and in `calibration`; a row
of the table in tests/calibration/test_conformal.py.
"""

from tfpbnn.calibration.conformal.adaptive import AdaptiveConformal
from tfpbnn.calibration.conformal.files import load
from tfpbnn.calibration.conformal.intervals import (
    CQR,
    AbsoluteResidual,
    NormalizedResidual,
)
from tfpbnn.calibration.conformal.resampled import JackknifePlus
from tfpbnn.calibration.conformal.sets import APS, LAC, RAPS

__all__ = [
    "APS",
    "CQR",
    "LAC",
    "RAPS",
    "AbsoluteResidual",
    "AdaptiveConformal",
    "JackknifePlus",
    "NormalizedResidual",
    "load",
]
