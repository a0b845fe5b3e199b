"""Draws predictions: takes arrays, returns a matplotlib figure.

The functions take any object with the methods of a `tfpbnn.Predictive`. They
need matplotlib: `pip install tfpbnn[plots]`; those of chains also ArviZ. Of the
package they import `metrics` alone, so that a figure and a number of the same
rows agree. To add one: a function in the file of what it shows (predictions,
calibration, events, errors, referral, forecasts, training, weights, chains),
and its name below.
"""

from tfpbnn.plots.calibration import calibration_curve, reliability_diagram
from tfpbnn.plots.chains import chain_predictions, pair, rank, trace
from tfpbnn.plots.errors import (
    error_by_stddev,
    pit_histogram,
    variance_split,
)
from tfpbnn.plots.events import confusion_by_confidence, event_calibration
from tfpbnn.plots.forecasts import fan_chart
from tfpbnn.plots.predictions import (
    member_predictions,
    predictive_band,
    uncertainty_histogram,
)
from tfpbnn.plots.referral import out_of_distribution, risk_coverage
from tfpbnn.plots.training import elbo, kl_by_layer
from tfpbnn.plots.weights import weight_posteriors, weight_snr

__all__ = [
    "calibration_curve",
    "chain_predictions",
    "confusion_by_confidence",
    "elbo",
    "error_by_stddev",
    "event_calibration",
    "fan_chart",
    "kl_by_layer",
    "member_predictions",
    "out_of_distribution",
    "pair",
    "pit_histogram",
    "predictive_band",
    "rank",
    "reliability_diagram",
    "risk_coverage",
    "trace",
    "uncertainty_histogram",
    "variance_split",
    "weight_posteriors",
    "weight_snr",
]
