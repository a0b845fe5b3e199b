"""Wraps networks as scikit-learn's estimators.

So they go into pipelines, cross-validation and grid searches, and predict with
uncertainty there. It needs scikit-learn: `pip install tfpbnn[sklearn]`. An
estimator makes a network, fits it, and answers from `tfpbnn.predict`; nothing
else of the package knows of it. To add one (for another kind of targets): a
subclass of `base.BayesianEstimator` in a file of its own, which says how
targets are encoded, which likelihood they have, and what `predict` returns of
a `Predictive`; its name below, and a row in tests/sklearn.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tfpbnn.sklearn needs scikit-learn: pip install tfpbnn[sklearn]"
    ) from error

from tfpbnn.sklearn.classifier import BayesianClassifier
from tfpbnn.sklearn.networks import dense_network
from tfpbnn.sklearn.regressor import BayesianRegressor

__all__ = ["BayesianClassifier", "BayesianRegressor", "dense_network"]
