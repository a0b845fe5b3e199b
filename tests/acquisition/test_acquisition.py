"""Scores and selectors, against brute force and closed forms."""

import functools
import itertools

import numpy as np
import pytest
from scipy import stats

import tfpbnn
from tests.statistics import FALSE_FAIL
from tfpbnn import acquisition, likelihoods
from tfpbnn.acquisition.batch_bald import _Chosen
from tfpbnn.acquisition.selecting import ACQUISITIONS, SELECTORS
from tfpbnn.prediction import ClassificationPredictive, RegressionPredictive

OF_LABELS = [
    "bald",
    "entropy",
    "epistemic_variance",
    "least_confidence",
    "margin",
    "mean_sd",
    "variation_ratios",
]
OF_NUMBERS = ["bald", "entropy", "epistemic_variance", "ucb"]
JOINT = ["knowledge_gradient"]


def class_draws(draws=5, rows=6, classes=3, seed=0):
    logits = np.random.default_rng(seed).normal(size=(draws, rows, classes))
    p = np.exp(2 * logits)
    return p / p.sum(-1, keepdims=True)


def labels(draws, mask=None):
    return ClassificationPredictive(
        np.log(draws), likelihoods.Categorical(), mask=mask
    )


def numbers(draws=7, rows=6, targets=1, seed=0, mask=None):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(draws, rows, 2 * targets))
    return RegressionPredictive(outputs, likelihoods.Normal(), mask=mask)


def entropy(p):
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), -1)


def by_hand(p):
    """Each score in NumPy, of draws `[S, N, K]`."""
    mean = p.mean(0)
    ordered = np.sort(mean, axis=-1)
    votes = np.argmax(p, -1)
    counts = np.stack([(votes == k).mean(0) for k in range(p.shape[-1])], -1)
    return {
        "bald": entropy(mean) - entropy(p).mean(0),
        "entropy": entropy(mean),
        "epistemic_variance": p.var(0).sum(-1),
        "least_confidence": 1 - mean.max(-1),
        "margin": ordered[:, -2] - ordered[:, -1],
        "mean_sd": p.std(0).mean(-1),
        "variation_ratios": 1 - counts.max(-1),
    }


@pytest.mark.parametrize("name", OF_LABELS)
def test_scores_of_labels(name):
    p = class_draws()
    expected = by_hand(p)[name]
    score = ACQUISITIONS[name]
    for given in (p, labels(p)):
        np.testing.assert_allclose(score(given), expected, atol=1e-12)
    rng = np.random.default_rng(1)
    rows = rng.permutation(p.shape[1])
    np.testing.assert_allclose(score(p[:, rows]), expected[rows], atol=1e-12)
    for axis in (0, 2):  # draws and classes
        shuffled = rng.permutation(p, axis=axis)
        np.testing.assert_allclose(score(shuffled), expected, atol=1e-12)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_scores_of_numbers(name):
    p = numbers()
    mean, epistemic = p.mean[:, 0], p.epistemic_variance[:, 0]
    noise = p.aleatoric_variance[:, 0]
    expected = {
        "bald": 0.5 * np.log((epistemic + noise) / noise),
        "entropy": stats.norm(0, np.sqrt(epistemic + noise)).entropy(),
        "epistemic_variance": epistemic,
        "ucb": mean + 2 * np.sqrt(epistemic),
    }[name]
    np.testing.assert_allclose(ACQUISITIONS[name](p), expected, rtol=1e-12)


def test_places_are_averaged_and_targets_summed():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(4, 3, 5, 2))  # rows of five steps
    mask = np.ones((3, 5), bool)
    mask[0, 2:] = False
    mask[2] = False
    p = ClassificationPredictive(outputs, likelihoods.Bernoulli(), mask=mask)
    each = p.mutual_information.sum(-1)
    found = acquisition.bald(p)
    np.testing.assert_allclose(found[:2], [each[0, :2].mean(), each[1].mean()])
    assert np.isnan(found[2])
    assert 2 not in acquisition.select(p, 2)
    with pytest.raises(ValueError, match="`k` must be at most 2"):
        acquisition.select(p, 3)
    several = numbers(targets=3)
    np.testing.assert_allclose(
        acquisition.epistemic_variance(several),
        several.epistemic_variance.sum(-1),
    )


def test_scores_without_draws():
    p = labels(class_draws())
    averages = p.without_draws(5, p.summaries, p.likelihood, "coherent")
    for name in OF_LABELS:
        score = ACQUISITIONS[name]
        np.testing.assert_allclose(score(averages), score(p), atol=1e-12)


def information(p, rows):
    """The mutual information of weights and labels, by all labellings."""
    total = 0.0
    for y in itertools.product(range(p.shape[2]), repeat=len(rows)):
        given = np.prod([p[:, i, k] for i, k in zip(rows, y, strict=True)], 0)
        total -= given.mean() * np.log(given.mean())
    return total - sum(entropy(p[:, i]).mean() for i in rows)


@pytest.mark.parametrize("seed", range(4))
def test_batch_bald_is_greedy_by_brute_force(seed):
    p = class_draws(seed=seed, rows=7)
    p[:, 6] = p[:, 0]  # two rows that tell the same
    expected = []
    for _ in range(4):
        left = [i for i in range(7) if i not in expected]
        expected.append(max(left, key=lambda i: information(p, [*expected, i])))
    np.testing.assert_array_equal(acquisition.batch_bald(p, 4), expected)
    np.testing.assert_array_equal(
        acquisition.batch_bald(labels(p), 4), expected
    )


def test_gains_of_batch_bald_sum_to_the_information():
    p = class_draws()
    chosen = _Chosen(p, 10_000, np.random.default_rng(0))
    gains = []
    for row in (4, 1, 3):
        gains.append(chosen.gains(np.array([row]))[0])
        chosen.add(row)
    np.testing.assert_allclose(sum(gains), information(p, [4, 1, 3]))


def test_sampled_labellings_are_unbiased():
    """The mean of 400 gains, each of 20 of the 81 labellings."""
    p = class_draws(draws=8)
    exact = information(p, [0, 1, 2, 3, 5]) - information(p, [0, 1, 2, 3])
    found = []
    for seed in range(400):
        chosen = _Chosen(p, 20, np.random.default_rng(seed))
        for row in range(4):
            chosen.add(row)
        assert len(chosen.weights) <= 20
        found.append(chosen.gains(np.array([5]))[0])
    error = (np.mean(found) - exact) / (np.std(found) / np.sqrt(400))
    assert abs(error) < stats.norm.isf(FALSE_FAIL / 2)
    assert np.std(found) / np.sqrt(400) < 0.01 * exact


def test_batch_bald_of_many_rows_skips_none_that_matters():
    """Bounds leave out rows: with more of them than are scored at once."""
    p = class_draws(rows=300)
    chosen = _Chosen(p, 10_000, np.random.default_rng(0))
    for row in acquisition.batch_bald(p, 4):
        gains = chosen.gains(np.arange(300))
        assert gains[row] >= gains.max() - 1e-12
        chosen.add(row)


@pytest.mark.parametrize("name", ["power", "softmax"])
def test_rows_are_chosen_in_proportion(name):
    scores = np.array([0.0, 0.5, 1.0, 2.0])
    beta = 2.0
    weight = scores**beta if name == "power" else np.exp(beta * scores)
    expected = weight / weight.sum()
    choose = getattr(acquisition, name)
    first = [choose(scores, 2, beta=beta, seed=s)[0] for s in range(4000)]
    counts = np.bincount(first, minlength=4)
    sd = np.sqrt(4000 * expected * (1 - expected))
    limit = stats.norm.isf(FALSE_FAIL / 8)
    assert np.all(np.abs(counts - 4000 * expected) <= limit * sd)


@pytest.mark.parametrize("maximize", [True, False])
def test_expected_improvement_is_its_mean(maximize):
    draws = np.random.default_rng(0).normal(size=(9, 4)) * [1, 2, 0, 0.1]
    draws[:, 2] = 0.3
    found = acquisition.expected_improvement(draws, 0.2, maximize=maximize)
    sign = 1 if maximize else -1
    z = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)
    values = draws.mean(0) + draws.std(0) * z[:, np.newaxis]
    expected = np.maximum(sign * (values - 0.2), 0).mean(0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("maximize", [True, False])
def test_knowledge_gradient_is_its_mean(maximize):
    p = numbers(draws=12, rows=8)
    found = acquisition.knowledge_gradient(p, maximize=maximize)
    f = p.draw_means[..., 0] * (1 if maximize else -1)
    mean, covariance = f.mean(0), np.cov(f.T, bias=True)
    noise = p.aleatoric_variance[:, 0]
    z = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    for row in range(8):
        slope = covariance[row] / np.sqrt(covariance[row, row] + noise[row])
        after = (mean + slope * z[:, np.newaxis]).max(1).mean()
        np.testing.assert_allclose(found[row], after - mean.max(), atol=1e-4)


def test_no_noise_and_nothing_to_learn():
    same = np.ones((3, 4))
    assert np.all(acquisition.knowledge_gradient(same) == 0)
    assert np.all(acquisition.expected_improvement(same, 0.5) == 0.5)
    assert np.all(acquisition.expected_improvement(same, 2.0) == 0)
    one = acquisition.batch_bald(class_draws(draws=1), 3)
    assert len(set(one)) == 3


def test_thompson_takes_the_best_of_each_draw():
    draws = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 1.0], [5.0, 1.0, 1.0]])
    for maximize, count in ((True, 3), (False, 2)):
        first = {
            acquisition.thompson(draws, 1, maximize=maximize, seed=s)[0]
            for s in range(30)
        }
        assert len(first) == count
    assert set(acquisition.thompson(draws, 3, seed=0)) == {0, 1, 2}
    assert set(acquisition.thompson(draws[:1], 3, seed=0)) == {0, 1, 2}


def test_k_center_leaves_no_row_far_away():
    x = np.random.default_rng(0).normal(size=(30, 2))
    rows = acquisition.k_center(x, 3, known=x[:2])
    known = [0, 1]
    for row in rows:
        away = np.linalg.norm(x[:, None] - x[known], axis=-1).min(1)
        assert row == np.argmax(away)
        known.append(row)


def test_badge_is_k_means_plus_plus_of_gradients():
    p, x = class_draws(rows=5), np.arange(5.0)[:, np.newaxis]
    p[:, 2:] = p[:, :1]  # so that gradients of these are on one line
    mean = p.mean(0)
    errors = mean - np.eye(3)[mean.argmax(1)]
    gradients = np.einsum("nk,nd->nkd", errors, x).reshape(5, -1)
    first = np.argmax(np.linalg.norm(gradients, axis=1))
    second, predictive = [], labels(p)
    for seed in range(2000):
        rows = acquisition.badge(predictive, 2, x, seed=seed)
        assert rows[0] == first
        second.append(rows[1])
    away = np.sum((gradients - gradients[first]) ** 2, 1)
    expected = away / away.sum()
    sd = np.sqrt(2000 * expected * (1 - expected))
    counts = np.bincount(second, minlength=5)
    limit = stats.norm.isf(FALSE_FAIL / 10)
    assert np.all(np.abs(counts - 2000 * expected) <= limit * sd)
    same = acquisition.badge(np.ones((1, 4, 2)) / 2, 4, np.ones((4, 1)), seed=0)
    assert set(same) == {0, 1, 2, 3}


@pytest.mark.parametrize("selector", sorted(SELECTORS))
def test_selectors_by_name(selector):
    p = numbers() if selector == "thompson" else labels(class_draws())
    features = np.random.default_rng(0).normal(size=(6, 2))
    choose = functools.partial(
        acquisition.select, p, 4, selector=selector, features=features
    )
    rows = choose(seed=1)
    assert len(set(rows)) == 4
    assert set(rows) <= set(range(6))
    np.testing.assert_array_equal(rows, choose(seed=1))
    with pytest.raises(ValueError, match="`k` must be at most 6"):
        acquisition.select(p, 7, selector=selector, features=features)
    with pytest.raises(ValueError, match="`k` must be a positive integer"):
        acquisition.select(p, 0, selector=selector, features=features)


def test_functions_in_place_of_names():
    p = class_draws()
    for rows in (
        acquisition.select(p, 2, lambda p: p[0, :, 0]),
        acquisition.select(
            p, 2, selector=lambda p, k, **_: np.argsort(-p[0, :, 0])[:k]
        ),
    ):
        np.testing.assert_array_equal(rows, np.argsort(-p[0, :, 0])[:2])


P, Q = class_draws(), numbers()
MARGINAL = RegressionPredictive(Q.outputs, Q.likelihood, "marginal")
SEVERAL = ClassificationPredictive(np.zeros((2, 3, 4)), likelihoods.Bernoulli())
BAD = {
    "numbers": (lambda: acquisition.margin(Q), TypeError, "must be of labels"),
    "labels": (
        lambda: acquisition.ucb(labels(P)),
        TypeError,
        "must be of numbers",
    ),
    "logits": (
        lambda: acquisition.bald(np.log(P)),
        ValueError,
        "must be probabilities",
    ),
    "no draws": (
        lambda: acquisition.bald(P[0]),
        ValueError,
        r"`\[S, N, K\]`. Received: an array of shape \(6, 3\)",
    ),
    "nan": (lambda: acquisition.bald(P * np.nan), ValueError, "finite"),
    "words": (lambda: acquisition.bald([["a"]]), TypeError, "numbers"),
    "marginal": (
        lambda: acquisition.thompson(MARGINAL),
        ValueError,
        'draws="coherent".*marginal',
    ),
    "several labels": (
        lambda: acquisition.batch_bald(SEVERAL, 2),
        ValueError,
        "one label for each row",
    ),
    "several targets": (
        lambda: acquisition.ucb(numbers(targets=2)),
        ValueError,
        "one number for each row",
    ),
    "best": (
        lambda: acquisition.expected_improvement(Q, np.nan),
        ValueError,
        "`best` must be a finite",
    ),
    "beta": (lambda: acquisition.ucb(Q, beta=-1), ValueError, "`beta`"),
    "noise": (
        lambda: acquisition.knowledge_gradient(Q, noise_variance=[1.0, 2.0]),
        ValueError,
        "`noise_variance`",
    ),
    "scores": (lambda: acquisition.top(P, 1), ValueError, "`scores`"),
    "features": (
        lambda: acquisition.badge(P, 2, np.ones((5, 2))),
        ValueError,
        "`features` must have a row",
    ),
    "none": (
        lambda: acquisition.select(P, 2, selector="badge"),
        ValueError,
        '`features` must be given for selector="badge"',
    ),
    "known": (
        lambda: acquisition.k_center(np.ones((5, 2)), 1, known=[[1.0]]),
        ValueError,
        "`known` must have 2 features",
    ),
    "acquisition": (
        lambda: acquisition.select(P, 2, "bold"),
        ValueError,
        "`acquisition` must be one of",
    ),
    "selector": (
        lambda: acquisition.select(P, 2, selector="best"),
        ValueError,
        "`selector` must be one of",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_public_names():
    assert tfpbnn.acquisition is acquisition
