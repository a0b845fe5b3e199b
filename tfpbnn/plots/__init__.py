"""Draws predictions: takes arrays, returns a matplotlib figure.

The functions take any object with the methods of a `tfpbnn.Predictive`. They
need matplotlib: `pip install tfpbnn[plots]`; those of chains also ArviZ. To add
one: a function in the file of what it shows (predictions, calibration, weights,
chains), and its name below.
"""

from tfpbnn.plots.calibration import calibration_curve, reliability_diagram
from tfpbnn.plots.chains import chain_predictions, pair, rank, trace
from tfpbnn.plots.predictions import (
    member_predictions,
    predictive_band,
    uncertainty_histogram,
)
from tfpbnn.plots.weights import weight_snr

__all__ = [
    "calibration_curve",
    "chain_predictions",
    "member_predictions",
    "pair",
    "predictive_band",
    "rank",
    "reliability_diagram",
    "trace",
    "uncertainty_histogram",
    "weight_snr",
]
