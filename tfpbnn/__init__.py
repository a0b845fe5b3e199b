"""Bayesian layers for Keras 3 on TensorFlow Probability."""

from tfpbnn import _backend  # noqa: F401, I001  first: it checks the backend
from tfpbnn import (
    callbacks,
    client,
    convert,
    dropout,
    ensembles,
    families,
    layers,
    likelihoods,
    metrics,
    particles,
    plots,
    priors,
)
from tfpbnn.convert import freeze_scales, to_deterministic, to_variational
from tfpbnn.dropout import mc_dropout
from tfpbnn.exporting import export, lint_export
from tfpbnn.models import Model, Sequential
from tfpbnn.predict import evaluate, predict
from tfpbnn.predictive import Predictive
from tfpbnn.pruning import prune, signal_to_noise

__version__ = "0.1.0.dev0"

__all__ = [
    "Model",
    "Predictive",
    "Sequential",
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
    "mc_dropout",
    "metrics",
    "particles",
    "plots",
    "predict",
    "priors",
    "prune",
    "signal_to_noise",
    "to_deterministic",
    "to_variational",
]
