"""Scores of draws and logits, against loops over pairs of draws."""

import itertools

import numpy as np
import pytest
from scipy import special

from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import ClassificationPredictive

OUTPUTS = 3 * np.random.default_rng(0).standard_normal((6, 5, 4))

KINDS = {
    "logits": (likelihoods.Categorical(), OUTPUTS),
    "probabilities": (
        likelihoods.Categorical(from_logits=False),
        special.softmax(OUTPUTS, axis=-1),
    ),
    "yes or no": (likelihoods.Bernoulli(), OUTPUTS),
    "yes or no, probabilities": (
        likelihoods.Bernoulli(from_logits=False),
        special.expit(OUTPUTS),
    ),
}


def of_classes(kind):
    outputs = KINDS[kind][1]
    if kind == "logits":
        return special.softmax(outputs, axis=-1)
    if kind == "probabilities":
        return outputs
    yes = special.expit(OUTPUTS)
    return np.stack([1 - yes, yes], axis=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_draws(kind):
    likelihood, outputs = KINDS[kind]
    p = ClassificationPredictive(outputs, likelihood)
    each = of_classes(kind)
    pairs = [
        special.rel_entr(a, b).sum(axis=-1)
        for a, b in itertools.permutations(each, 2)
    ]
    found = metrics.uncertainty(p, "pairwise_kl")
    np.testing.assert_allclose(found, np.mean(pairs, axis=0), rtol=1e-6)
    assert np.all(found >= metrics.uncertainty(p, "mutual_information"))


def test_the_mean_over_pairs_has_no_bias():
    """Over all choices of 3 draws of 8 its mean is that of all 8."""
    outputs = np.random.default_rng(1).standard_normal((8, 2, 3))

    def score(draws):
        p = ClassificationPredictive(draws, likelihoods.Categorical())
        return metrics.uncertainty(p, "pairwise_kl")

    some = [
        score(outputs[list(three)])
        for three in itertools.combinations(range(8), 3)
    ]
    np.testing.assert_allclose(np.mean(some, axis=0), score(outputs))


def test_logits():
    p = ClassificationPredictive(OUTPUTS, likelihoods.Categorical())
    np.testing.assert_allclose(
        metrics.uncertainty(p, "max_logit"), -OUTPUTS.mean(0).max(-1)
    )
    np.testing.assert_allclose(
        metrics.uncertainty(p, "energy"),
        -special.logsumexp(OUTPUTS, axis=-1).mean(0),
    )


def test_sure_draws_that_differ_are_finite():
    outputs = np.array([[[1e3, -1e3]], [[-1e3, 1e3]]])
    for likelihood in (likelihoods.Categorical(), likelihoods.Bernoulli()):
        p = ClassificationPredictive(outputs, likelihood)
        found = metrics.uncertainty(p, "pairwise_kl")
        assert np.all(np.isfinite(found) & (found > 100))
    same = ClassificationPredictive(
        np.repeat(outputs[:1], 3, 0), likelihoods.Categorical()
    )
    np.testing.assert_allclose(
        metrics.uncertainty(same, "pairwise_kl"), 0, atol=1e-9
    )


def test_places_that_are_masked():
    mask = np.arange(20).reshape(5, 4) % 3 > 0
    outputs = np.random.default_rng(0).standard_normal((6, 5, 4, 3))
    p = ClassificationPredictive(outputs, likelihoods.Categorical(), mask=mask)
    for name in ("pairwise_kl", "max_logit", "energy"):
        found = metrics.uncertainty(p, name)
        np.testing.assert_array_equal(np.isnan(found), ~mask)


def test_what_is_needed():
    categorical = likelihoods.Categorical()
    p = ClassificationPredictive(OUTPUTS, categorical)
    kept = p.without_draws(6, p.summaries, categorical, "coherent")
    one = ClassificationPredictive(OUTPUTS[:1], categorical)
    bernoulli = ClassificationPredictive(OUTPUTS, likelihoods.Bernoulli())
    for match, name, given in [
        ("2 draws or more", "pairwise_kl", one),
        ("draws were not kept", "pairwise_kl", kept),
        ("draws were not kept", "energy", kept),
        ("logits of classes", "max_logit", bernoulli),
    ]:
        with pytest.raises(ValueError, match=match):
            metrics.uncertainty(given, name)
    assert np.isfinite(metrics.uncertainty(one, "energy")).all()
