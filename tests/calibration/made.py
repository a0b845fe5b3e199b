"""Predictions and targets of a known calibration."""

import numpy as np

from tfpbnn import likelihoods
from tfpbnn.prediction import ClassificationPredictive, RegressionPredictive

# The raw scale of a standard deviation of 1.
ONE = np.log(np.expm1(1 - 1e-6))


def classes(rows, size=3, *, factor=1.0, draws=1, seed=0, places=()):
    """Logits that are true but for a factor, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.standard_normal((rows, *places, size))
    y = np.argmax(z + rng.gumbel(size=z.shape), axis=-1)
    spread = 0.3 * rng.standard_normal((draws, *z.shape)) * (draws > 1)
    return factor * (z + spread), y


def labels(outputs, likelihood=None, mask=None):
    likelihood = likelihood or likelihoods.Categorical()
    return ClassificationPredictive(outputs, likelihood, mask=mask)


def numbers(rows, *, noise=1.0, draws=1, targets=1, seed=0):
    """Outputs that say a noise of 1, and targets of another noise."""
    rng = np.random.default_rng(seed)
    loc = rng.standard_normal((rows, targets))
    y = loc + noise * rng.standard_normal((rows, targets))
    spread = 0.3 * rng.standard_normal((draws, *loc.shape)) * (draws > 1)
    outputs = np.concatenate([loc + spread, np.full_like(spread, ONE)], -1)
    return outputs, y


def normal(outputs, likelihood=None, mask=None):
    likelihood = likelihood or likelihoods.Normal()
    return RegressionPredictive(outputs, likelihood, mask=mask)
