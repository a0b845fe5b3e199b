"""Bayesian layers for Keras 3 on TensorFlow Probability.

Each folder is a concept, and its first paragraph says what lives there and how
to add one; docs/design.md has the whole tree.
"""

from tfpbnn.base import backend  # noqa: F401, I001  first: it checks Keras's
from tfpbnn import (
    calibration,
    callbacks,
    client,
    convert,
    dropout,
    ensembles,
    families,
    layers,
    likelihoods,
    lora,
    mcmc,
    metrics,
    particles,
    plots,
    prediction,
    priors,
)
from tfpbnn.convert import (
    freeze_scales,
    prune,
    to_deterministic,
    to_variational,
)
from tfpbnn.diagnostics import signal_to_noise
from tfpbnn.dropout import mc_dropout
from tfpbnn.exporting import export, lint_export
from tfpbnn.prediction import Predictive, evaluate, predict
from tfpbnn.training import Model, Sequential

__version__ = "0.1.0.dev0"

__all__ = [
    "Model",
    "Predictive",
    "Sequential",
    "calibration",
    "callbacks",
    "client",
    "convert",
    "dropout",
    "ensembles",
    "evaluate",
    "export",
    "families",
    "freeze_scales",
    "layers",
    "likelihoods",
    "lint_export",
    "lora",
    "mc_dropout",
    "mcmc",
    "metrics",
    "particles",
    "plots",
    "predict",
    "prediction",
    "priors",
    "prune",
    "signal_to_noise",
    "to_deterministic",
    "to_variational",
]
