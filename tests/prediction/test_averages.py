import numpy as np
import pytest

from tfpbnn import likelihoods
from tfpbnn.prediction import averages
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)


@pytest.mark.parametrize("sizes", [[6], [1, 5], [1] * 6, [4, 1, 1]])
def test_averages_of_parts_are_those_of_the_whole(sizes):
    """Far from zero too, where sums of squares would lose all digits."""
    rng = np.random.default_rng(0)
    y = 1e6 + rng.normal(size=(6, 4, 2))
    other = rng.normal(size=(6, 4))
    ends = np.cumsum(sizes)
    parts = [
        (len(a), (a.mean(0), a.var(0), b.mean(0)))
        for a, b in zip(
            np.split(y, ends[:-1]), np.split(other, ends[:-1]), strict=True
        )
    ]
    mean, variance, average = averages.merge(parts)
    np.testing.assert_allclose(mean, y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, y.var(0), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(average, other.mean(0), rtol=1e-12)


SCORES = ["accuracy", "brier", "ece"]


@pytest.mark.parametrize(
    ("likelihood", "size", "y", "scores"),
    [
        (likelihoods.Normal(), 4, np.ones((5, 2)), ["rmse"]),
        (likelihoods.Categorical(), 3, np.arange(5) % 3, ["nll", *SCORES]),
        (
            likelihoods.Categorical(),
            3,
            np.eye(3)[[0, 1, 2, 0, 1]],
            ["nll", *SCORES],
        ),
        (likelihoods.Categorical(), 3, np.full((5, 3), 1 / 3), SCORES),
        (likelihoods.Bernoulli(), 2, np.eye(5, 2), SCORES),
    ],
)
def test_scores_that_need_averages_only(likelihood, size, y, scores):
    """Those that `evaluate` gives; the log of an average is one of them."""
    kind = (
        ClassificationPredictive
        if likelihood.is_classification
        else RegressionPredictive
    )
    outputs = np.random.default_rng(0).normal(size=(7, 5, size))
    whole = kind(outputs, likelihood)
    bare = kind.without_draws(7, whole.summaries, likelihood, "coherent")
    expected, found = whole.evaluate(y), bare.evaluate(y)
    assert list(found) == scores
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)
    if "nll" not in scores:
        with pytest.raises(ValueError, match="keep_draws=True"):
            bare.nll(y)
    with pytest.raises(ValueError, match="`y` must"):
        bare.evaluate(y + np.nan)


def test_one_pass_over_any_iterable():
    parts = ((1, (np.array([float(i)]), np.zeros(1))) for i in range(3))
    mean, variance = averages.merge(parts)
    np.testing.assert_allclose((mean[0], variance[0]), (1.0, 2 / 3))
