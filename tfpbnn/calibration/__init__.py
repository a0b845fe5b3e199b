"""Calibrates predictions on held-out data, and makes sets that cover.

Two kinds. Calibrators (`Temperature`, `Isotonic`, ...) map probabilities,
quantiles or noise; `calibrate` fits one and puts it into the likelihood of a
posterior, where prediction, scores and exports find it. `conformal` makes sets
and intervals that have a wanted coverage, whatever the model. To add a
calibrator: a subclass of `base.Calibrator` that says what it maps (see
`likelihoods.recalibration`), registered as of "calibration"; its name in
`calibrating.METHODS` and below; a row of the tables in tests/calibration.
"""

from tfpbnn.calibration.calibrating import calibrate
from tfpbnn.calibration.classes import BBQ, HistogramBinning, Isotonic
from tfpbnn.calibration.conformal import (
    APS,
    CQR,
    LAC,
    RAPS,
    AbsoluteResidual,
    AdaptiveConformal,
    JackknifePlus,
    NormalizedResidual,
    load,
)
from tfpbnn.calibration.logits import (
    Dirichlet,
    MatrixScaling,
    Platt,
    Temperature,
    VectorScaling,
)
from tfpbnn.calibration.noise import Scale
from tfpbnn.calibration.quantiles import IsotonicQuantiles

__all__ = [
    "APS",
    "BBQ",
    "CQR",
    "LAC",
    "RAPS",
    "AbsoluteResidual",
    "AdaptiveConformal",
    "Dirichlet",
    "HistogramBinning",
    "Isotonic",
    "IsotonicQuantiles",
    "JackknifePlus",
    "MatrixScaling",
    "NormalizedResidual",
    "Platt",
    "Scale",
    "Temperature",
    "VectorScaling",
    "calibrate",
    "load",
]
