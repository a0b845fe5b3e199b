"""Predictions of each kind, with labels, that monitors are tested with."""

import numpy as np

from tfpbnn import likelihoods
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

N, S = 120, 6


def rng(seed):
    return np.random.default_rng(seed)


def outputs(seed, size, rows=N):
    shared = rng(seed).normal(size=(1, rows, size))
    return (shared + 0.3 * rng(seed + 1).normal(size=(S, rows, size))).astype(
        "float32"
    )


def numbers(seed=0, rows=N, shift=0.0):
    """A Normal whose noise has the standard deviation 0.5."""
    found = outputs(seed, 2, rows)
    found[..., 1] = np.log(np.expm1(0.5))
    found[..., 0] += shift
    return RegressionPredictive(found, likelihoods.Normal())


def labels(seed=0, rows=N, sharpness=1.5):
    return ClassificationPredictive(
        sharpness * outputs(seed, 3, rows), likelihoods.Categorical()
    )


def drawn(p, seed=0):
    """Labels that come as often as the prediction says."""
    return p.sample(1, seed=seed)[0]


def without_draws(p):
    return type(p).without_draws(
        p.num_samples, p.summaries, p.likelihood, "marginal"
    )


def of(likelihood, size, kind=RegressionPredictive):
    return kind(outputs(3, size), likelihood)


# Predictions, by what they are of. Their labels are drawn from themselves.
CASES = {
    "numbers": numbers,
    "one draw": lambda: RegressionPredictive(
        outputs(3, 2)[:1], likelihoods.Normal()
    ),
    "double precision": lambda: RegressionPredictive(
        1e6 + outputs(3, 2).astype("float64"), likelihoods.Normal()
    ),
    "several targets": lambda: of(likelihoods.Normal(), 4),
    "rescaled": lambda: numbers().rescale(100.0, 7.0),
    # Of an infinite variance.
    "heavy tails": lambda: of(likelihoods.StudentT(df=1.5), 2),
    "mixture": lambda: of(likelihoods.MixtureNormal(2), 6),
    "counts": lambda: of(likelihoods.Poisson(), 1),
    "labels": labels,
    "probabilities": lambda: ClassificationPredictive(
        labels().probabilities[np.newaxis],
        likelihoods.Categorical(from_logits=False),
    ),
    "labels without draws": lambda: without_draws(labels()),
    "yes or no": lambda: of(
        likelihoods.Bernoulli(), 1, ClassificationPredictive
    ),
    "several labels": lambda: of(
        likelihoods.Bernoulli(), 3, ClassificationPredictive
    ),
}
