"""Bayesian layers for Keras 3 on TensorFlow Probability.

Each folder is a concept, and its first paragraph says what lives there and how
to add one; docs/design.md has the whole tree.
"""

import importlib  # noqa: I001  `backend` comes first: it checks Keras's
from typing import Any

from tfpbnn.base import backend  # noqa: F401
from tfpbnn import (
    acquisition,
    calibration,
    callbacks,
    client,
    convert,
    decisions,
    diagnostics,
    distribute,
    dropout,
    ensembles,
    families,
    layers,
    likelihoods,
    lora,
    mcmc,
    metrics,
    monitor,
    ood,
    optimizers,
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
    update_prior,
)
from tfpbnn.diagnostics import signal_to_noise
from tfpbnn.dropout import mc_dropout
from tfpbnn.exporting import export, lint_export
from tfpbnn.posteriors.laplace import (
    LaplacePosterior,
    MarginalLikelihoodTraining,
    laplace,
)
from tfpbnn.prediction import (
    Predictive,
    evaluate,
    predict,
    predict_dataset,
)
from tfpbnn.reporting import report
from tfpbnn.training import Model, Sequential

__version__ = "0.1.0.dev0"

__all__ = [
    "LaplacePosterior",
    "MarginalLikelihoodTraining",
    "Model",
    "Predictive",
    "Sequential",
    "acquisition",
    "calibration",
    "callbacks",
    "client",
    "convert",
    "decisions",
    "diagnostics",
    "distribute",
    "dropout",
    "ensembles",
    "evaluate",
    "export",
    "families",
    "freeze_scales",
    "laplace",
    "layers",
    "likelihoods",
    "lint_export",
    "lora",
    "mc_dropout",
    "mcmc",
    "metrics",
    "monitor",
    "ood",
    "optimizers",
    "particles",
    "plots",
    "predict",
    "predict_dataset",
    "prediction",
    "priors",
    "prune",
    "report",
    "signal_to_noise",
    "to_deterministic",
    "to_variational",
    "update_prior",
]


def __getattr__(name: str) -> Any:
    # Its classes are scikit-learn's, which few need and takes a second.
    if name == "sklearn":
        return importlib.import_module("tfpbnn.sklearn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
