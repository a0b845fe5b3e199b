"""Named uncertainty scores against the arrays that a prediction has."""

import numpy as np
import pytest

from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)


def labels(likelihood, shape, mask=None):
    outputs = 3 * np.random.default_rng(0).standard_normal(shape)
    return ClassificationPredictive(outputs, likelihood, mask=mask)


def numbers(shape, mask=None):
    outputs = np.random.default_rng(0).standard_normal(shape)
    return RegressionPredictive(outputs, likelihoods.Normal(), mask=mask)


ENTROPIES = ("predictive_entropy", "expected_entropy", "mutual_information")


@pytest.mark.parametrize("name", [*ENTROPIES, "variation_ratio"])
def test_what_a_prediction_of_labels_has(name):
    p = labels(likelihoods.Categorical(), (7, 20, 4))
    np.testing.assert_array_equal(
        metrics.uncertainty(p, name), getattr(p, name)
    )


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli"])
def test_variances_are_summed_over_classes(likelihood):
    kind = {
        "categorical": likelihoods.Categorical(),
        "bernoulli": likelihoods.Bernoulli(),
    }[likelihood]
    p = labels(kind, (7, 20, 4))
    for name in ("variance", "epistemic_variance", "aleatoric_variance"):
        found = metrics.uncertainty(p, name)
        each = getattr(p, name)
        expected = each.sum(-1) if likelihood == "categorical" else 2 * each
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_defaults_are_of_the_kind():
    p = labels(likelihoods.Bernoulli(), (7, 20, 3))
    expected = np.minimum(p.mean, 1 - p.mean)
    np.testing.assert_allclose(metrics.uncertainty(p), expected, atol=1e-6)
    p = numbers((7, 20, 6))
    np.testing.assert_array_equal(metrics.uncertainty(p), p.variance)


def test_masked_places_are_nan():
    mask = np.arange(20).reshape(5, 4) % 3 > 0
    for p, name in [
        (labels(likelihoods.Categorical(), (7, 5, 4, 3), mask), None),
        (numbers((7, 5, 4, 2), mask), "epistemic_variance"),
    ]:
        found = metrics.uncertainty(p, name)
        np.testing.assert_array_equal(np.isnan(found).reshape(5, 4), ~mask)


def test_a_name_of_the_other_kind_is_an_error():
    with pytest.raises(ValueError, match=r"`name` must be one of .*variance"):
        metrics.uncertainty(numbers((7, 20, 2)), "mutual_information")
