"""Predictions of labels, against NumPy."""

import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics as reference

from tests.metrics.test_metrics import loop_ece
from tfpbnn import likelihoods
from tfpbnn.prediction.results import ClassificationPredictive


def make(shape, likelihood=None, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return ClassificationPredictive(
        scale * rng.standard_normal(shape),
        likelihood or likelihoods.Categorical(),
    )


def entropy(p):
    return -np.sum(p * np.log(p), axis=-1)


@pytest.mark.parametrize("shape", [(9, 6, 4), (1, 6, 4), (9, 6, 3, 4)])
@pytest.mark.parametrize("from_logits", [True, False])
def test_summaries_of_categories(shape, from_logits):
    logits = np.random.default_rng(0).standard_normal(shape)
    p = special.softmax(logits, axis=-1)
    found = ClassificationPredictive(
        logits if from_logits else p,
        likelihoods.Categorical(from_logits=from_logits),
    )
    mean = p.mean(axis=0)
    expected = entropy(p).mean(axis=0)
    np.testing.assert_allclose(found.probabilities, mean)
    np.testing.assert_allclose(found.mean, mean)
    np.testing.assert_array_equal(found.labels, mean.argmax(-1))
    np.testing.assert_allclose(found.predictive_entropy, entropy(mean))
    np.testing.assert_allclose(found.expected_entropy, expected)
    np.testing.assert_allclose(
        found.mutual_information, entropy(mean) - expected, atol=1e-12
    )
    np.testing.assert_allclose(
        found.epistemic_variance, p.var(axis=0), atol=1e-15
    )
    np.testing.assert_allclose(
        found.aleatoric_variance, (p * (1 - p)).mean(axis=0)
    )
    np.testing.assert_allclose(found.variance, mean * (1 - mean))


@pytest.mark.parametrize("from_logits", [True, False])
def test_summaries_of_yes_or_no(from_logits):
    logits = np.random.default_rng(0).standard_normal((9, 6, 2))
    p = special.expit(logits)
    found = ClassificationPredictive(
        logits if from_logits else p,
        likelihoods.Bernoulli(from_logits=from_logits),
    )
    mean = p.mean(axis=0)
    each = entropy(np.stack([1 - p, p], -1)).mean(axis=0)
    total = entropy(np.stack([1 - mean, mean], -1))
    np.testing.assert_allclose(found.probabilities, mean)
    np.testing.assert_array_equal(found.labels, mean > 0.5)
    np.testing.assert_allclose(found.predictive_entropy, total)
    np.testing.assert_allclose(found.expected_entropy, each)
    np.testing.assert_allclose(found.mutual_information, total - each)
    np.testing.assert_allclose(found.epistemic_variance, p.var(axis=0))
    np.testing.assert_allclose(found.variance, mean * (1 - mean))
    assert found.variation_ratio.shape == (6, 2)
    assert found.sample(5).shape == (5, 6, 2)


def test_draws_that_agree_have_no_mutual_information():
    row = np.random.default_rng(0).standard_normal((1, 6, 4))
    p = ClassificationPredictive(
        np.repeat(row, 20, axis=0), likelihoods.Categorical()
    )
    np.testing.assert_allclose(p.mutual_information, 0, atol=1e-14)
    np.testing.assert_allclose(p.epistemic_variance, 0, atol=1e-15)
    np.testing.assert_allclose(p.variation_ratio, 0, atol=1e-7)
    assert np.all(p.predictive_entropy > 0.1)


def test_draws_that_are_sure_of_different_labels():
    """All of the entropy log 2 is epistemic; 0 log 0 is 0."""
    logits = np.array([[[2000.0, -2000.0]], [[-2000.0, 2000.0]]])
    p = ClassificationPredictive(logits, likelihoods.Categorical())
    np.testing.assert_allclose(p.predictive_entropy, np.log(2))
    np.testing.assert_allclose(p.expected_entropy, 0, atol=1e-12)
    np.testing.assert_allclose(p.mutual_information, np.log(2))
    np.testing.assert_allclose(p.variation_ratio, 0.5)


def test_variation_ratio_counts_votes():
    p = make((20, 8, 3))
    p.outputs[:] += np.arange(8)[:, None] * np.array([0, 0, 0.5])
    for row in range(8):
        votes = np.bincount(p.outputs[:, row].argmax(-1), minlength=3)
        expected = 1 - votes.max() / 20
        assert p.variation_ratio[row] == pytest.approx(expected, abs=1e-6)
    assert np.ptp(p.variation_ratio) > 0.1


@pytest.mark.parametrize("one_hot", [False, True])
def test_scores(one_hot):
    p = make((5, 300, 3), scale=1.0)
    labels = np.random.default_rng(1).integers(0, 3, 300)
    probabilities = special.softmax(p.outputs, axis=-1).mean(axis=0)
    y = np.eye(3)[labels] if one_hot else labels
    scores = p.evaluate(y)
    assert list(scores) == ["nll", "accuracy", "brier", "ece"]
    assert scores["nll"] == pytest.approx(
        reference.log_loss(labels, probabilities), rel=1e-6
    )
    assert scores["accuracy"] == pytest.approx(
        reference.accuracy_score(labels, probabilities.argmax(-1))
    )
    distance = np.sum((probabilities - np.eye(3)[labels]) ** 2, axis=-1)
    assert scores["brier"] == pytest.approx(distance.mean(), rel=1e-5)
    for num_bins in (2, 15):
        expected = loop_ece(labels, probabilities, num_bins)
        assert p.ece(y, num_bins) == pytest.approx(expected, rel=1e-4)
    assert scores["ece"] == pytest.approx(expected, rel=1e-4)
    confidence, correct = p.confidence(y)
    np.testing.assert_allclose(confidence, probabilities.max(-1))
    np.testing.assert_array_equal(correct, probabilities.argmax(-1) == labels)


def test_scores_of_several_yes_or_no():
    p = make((5, 200, 2), likelihoods.Bernoulli())
    y = np.random.default_rng(1).integers(0, 2, (200, 2))
    yes = special.expit(p.outputs).mean(axis=0)
    scores = p.evaluate(y)
    assert scores["accuracy"] == pytest.approx(np.mean((yes > 0.5) == y))
    brier = np.mean(2 * (yes - y) ** 2)
    assert scores["brier"] == pytest.approx(brier, rel=1e-5)
    joint = stats.bernoulli.pmf(y, special.expit(p.outputs)).prod(axis=-1)
    nll = -np.log(joint.mean(axis=0)).mean()
    assert scores["nll"] == pytest.approx(nll, rel=1e-9)
    confidence, correct = p.confidence(y)
    np.testing.assert_allclose(confidence, np.maximum(yes, 1 - yes).ravel())
    np.testing.assert_array_equal(correct, ((yes > 0.5) == y).ravel())


def test_sequences_of_labels():
    p = make((5, 20, 3, 4))
    flat = ClassificationPredictive(p.outputs.reshape(5, 60, 4), p.likelihood)
    y = np.random.default_rng(1).integers(0, 4, (20, 3))
    np.testing.assert_allclose(
        p.log_prob(y), flat.log_prob(y.ravel()).reshape(20, 3)
    )
    expected = flat.evaluate(y.ravel())
    for name, value in p.evaluate(y).items():
        assert value == pytest.approx(expected[name]), name
    assert p.mutual_information.shape == (20, 3)
    assert len(p.to_dict()["label_2"]) == 20


@pytest.mark.parametrize(
    "likelihood", [likelihoods.Categorical(), likelihoods.Bernoulli()]
)
def test_samples_have_the_probabilities(likelihood):
    """Exact binomial tests: false alarm 1e-6 in all."""
    p = make((6, 3, 2), likelihood)
    labels = p.sample(5000, seed=0)
    probabilities = p.probabilities
    if labels.ndim == 2:
        labels, probabilities = labels[..., None], probabilities[..., 1:]
    for index in np.ndindex(probabilities.shape):
        test = stats.binomtest(
            int(labels[(slice(None), *index)].sum()), 5000, probabilities[index]
        )
        assert test.pvalue > 1e-6 / probabilities.size


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(5), "one row for each of the 6 predicted rows"),
        (np.zeros((6, 4)), "needs integer labels of one axis less"),
        (np.full(6, np.nan), "labels from 0 to 2"),
        (np.full(6, 7), "labels from 0 to 2"),
        (np.array(list("ababab")), "must hold numbers. Received: 'a'"),
    ],
)
@pytest.mark.parametrize(
    "method", ["log_prob", "accuracy", "brier", "ece", "confidence"]
)
def test_bad_labels_raise(method, y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(make((5, 6, 3)), method)(y)


def test_probabilities_take_one_pass_in_the_precision_of_the_draws():
    outputs = make((40, 7, 5)).outputs
    p = ClassificationPredictive(
        outputs.astype(np.float32), likelihoods.Categorical()
    )
    expected = special.softmax(outputs, axis=-1).mean(0)
    np.testing.assert_allclose(p.probabilities, expected, rtol=2e-6)
    assert p.probabilities.dtype == np.float64
    assert "summaries" not in vars(p)
    np.testing.assert_allclose(p.probabilities, p.summaries[0], rtol=2e-6)
