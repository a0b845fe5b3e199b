"""Rankings and selection against other packages, loops and closed forms."""

import itertools
import json
import pathlib

import numpy as np
import pytest
from scipy import integrate
from sklearn import metrics as sklearn

from tests.statistics import assert_mean
from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

DATA = pathlib.Path(__file__).parents[1] / "data" / "number_scores.json"
KEPT = json.loads(DATA.read_text())
GIVEN = {name: np.array(value) for name, value in KEPT["inputs"].items()}
EXPECTED = KEPT["expected"]
LABELS, P = GIVEN["labels"], GIVEN["probabilities"]
COUNT = len(LABELS)


def classes(outputs, **kwargs):
    likelihood = likelihoods.Categorical(**kwargs)
    return ClassificationPredictive(outputs, likelihood)


def trapezoid(curve):
    """Between coverages 1 / n and 1, as the other package integrates."""
    area = sklearn.auc(curve.coverage, curve.risk)
    return area / (1 - 1 / len(curve.risk))


def test_torch_uncertainty_agrees():
    curve = metrics.risk_coverage_curve(LABELS, P)
    assert trapezoid(curve) == pytest.approx(EXPECTED["aurc"])
    # It begins the generalized area at the first place.
    whole = EXPECTED["augrc"] * (1 - 1 / COUNT)
    first = 0.5 * curve.risk[0] / COUNT**2
    assert metrics.augrc(LABELS, P) == pytest.approx(whole + first)
    found = metrics.coverage_at_risk(LABELS, P, risk=0.7)
    assert found == pytest.approx(EXPECTED["coverage_at_risk"])
    found = metrics.risk_at_coverage(LABELS, P, coverage=0.55)
    assert found == pytest.approx(EXPECTED["risk_at_coverage"])
    for tpr in (50, 95):
        found = metrics.fpr_at_tpr(
            GIVEN["is_ood"], GIVEN["tied"], tpr=tpr / 100
        )
        assert found == pytest.approx(EXPECTED[f"fpr_at_{tpr}"])
    y, mean = GIVEN["y"][:, 0], GIVEN["mean"][:, 0]
    curve = metrics.sparsification_curve(
        y, mean, error="mae", by=GIVEN["score"], num_points=COUNT + 1
    )
    gaps = (curve.error - curve.best)[:-1]
    found = sklearn.auc(curve.removed[:-1], gaps)
    assert found == pytest.approx(EXPECTED["ause"])


def test_torch_uncertainty_agrees_of_foreign_rows():
    is_ood, score = GIVEN["is_ood"], GIVEN["score"]
    found = metrics.scod_aurc(
        np.where(is_ood, -1, LABELS),
        P,
        is_ood=is_ood,
        by=score,
        ood_cost=0.7,
        is_generalized=True,
    )
    first = np.argmin(score)
    wrong = P[first].argmax() != LABELS[first]
    loss = 0.7 if is_ood[first] else 0.3 * wrong
    whole = EXPECTED["scod_augrc"] * (1 - 1 / COUNT)
    assert found == pytest.approx(whole + 0.5 * loss / COUNT**2)


def random_scores(seed):
    """Labels, scores with many ties, and weights of which some are 0."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(4, 60))
    is_positive = rng.random(count) < rng.uniform(0.1, 0.9)
    is_positive[:2] = True, False
    score = rng.integers(0, rng.integers(1, 30), count) / 3
    weights = rng.random(count) * (rng.random(count) < 0.8)
    weights[:2] = 1, 0.3
    return is_positive, score, weights


@pytest.mark.parametrize("seed", range(20))
def test_scikit_learn_agrees(seed):
    y, score, weights = random_scores(seed)
    kwargs = {"sample_weight": weights}
    found = metrics.auroc(y, score, **kwargs)
    assert found == pytest.approx(sklearn.roc_auc_score(y, score, **kwargs))
    found = metrics.aupr(y, score, **kwargs)
    expected = sklearn.average_precision_score(y, score, **kwargs)
    assert found == pytest.approx(expected)
    found = metrics.aupr(y, score, is_reversed=True, **kwargs)
    expected = sklearn.average_precision_score(~y, -score, **kwargs)
    assert found == pytest.approx(expected)
    for tpr in (0.3, 0.95, 1.0):
        for is_reversed in (False, True):
            sides = (~y, -score) if is_reversed else (y, score)
            rates = sklearn.roc_curve(*sides, drop_intermediate=False, **kwargs)
            expected = rates[0][np.argmax(rates[1] >= tpr - 1e-12)]
            found = metrics.fpr_at_tpr(
                y, score, tpr=tpr, is_reversed=is_reversed, **kwargs
            )
            assert found == pytest.approx(expected)


AREAS = {
    "aurc": (metrics.aurc, lambda total, x: total / x),
    "augrc": (metrics.augrc, lambda total, _: total),
}


@pytest.mark.parametrize("seed", range(6))
def test_areas_are_integrals_over_coverage(seed):
    """Of losses that are kept, which rise linearly between thresholds."""
    _, score, weights = random_scores(seed)
    rng = np.random.default_rng(seed)
    y = rng.normal(size=len(score)) * (rng.random(len(score)) < 0.7)
    options = {"by": score, "sample_weight": weights}
    curve = metrics.risk_coverage_curve(y, np.zeros_like(y), **options)
    x = np.concatenate([[0], curve.coverage])
    totals = np.concatenate([[0], curve.coverage * curve.risk])

    def integral(of):
        return sum(
            integrate.quad(lambda z: of(np.interp(z, x, totals), z), *ends)[0]
            for ends in itertools.pairwise(x)
        )

    for score_of, of in AREAS.values():
        found = score_of(y, np.zeros_like(y), **options)
        assert found == pytest.approx(integral(of), rel=1e-6, abs=1e-12)
    both = [
        metrics.ause(y, np.zeros_like(y), is_normalized=False, **options),
        metrics.ause(y, np.zeros_like(y), **options),
    ]
    best = {"by": y**2, "sample_weight": weights}
    ideal = metrics.risk_coverage_curve(y, np.zeros_like(y), **best)
    own = integral(lambda total, z: np.sqrt(total / z))
    x = np.concatenate([[0], ideal.coverage])
    totals = np.concatenate([[0], ideal.coverage * ideal.risk])
    own -= integral(lambda total, z: np.sqrt(max(total, 0) / z))
    assert both[0] == pytest.approx(own, rel=1e-4, abs=1e-8)
    whole = np.sqrt(np.average(y**2, weights=weights))
    assert both[1] == pytest.approx(own / whole, rel=1e-4, abs=1e-8)


def test_ties_are_their_average_over_all_orders():
    """Of 2,000 orders; a false alarm in a million."""
    rng = np.random.default_rng(0)
    loss, score = rng.random(12), rng.integers(0, 3, 12)
    zeros = np.zeros(12)
    for name in ("aurc", "augrc"):
        of = getattr(metrics, name)
        each = [
            of(np.sqrt(loss), zeros, by=score + 1e-3 * rng.random(12))
            for _ in range(2000)
        ]
        assert_mean(np.array(each), of(np.sqrt(loss), zeros, by=score))


def test_closed_forms_of_errors():
    rng = np.random.default_rng(0)
    p = classes(2 * rng.normal(size=(5, 300, 3)))
    y = rng.integers(0, 3, 300)
    r = 1 - p.accuracy(y)
    area = metrics.auroc(y, p, event="error")
    expected = r * (1 - r) * (1 - area) + r**2 / 2
    assert metrics.augrc(y, p) == pytest.approx(expected)
    excess = metrics.augrc(y, p, is_excess=True)
    assert excess == pytest.approx(expected - r**2 / 2)
    best = metrics.aurc(y, p) - metrics.aurc(y, p, is_excess=True)
    assert best == pytest.approx(r + (1 - r) * np.log(1 - r))
    # Uncertainties that are all equal say nothing.
    assert metrics.aurc(y, p, by=np.ones(300)) == pytest.approx(r)
    assert metrics.augrc(y, p, by=np.ones(300)) == pytest.approx(r / 2)
    assert metrics.auroc(y, p, event="error", by=np.ones(300)) == 0.5
    # The mean over coverages i / n comes near it.
    curve = metrics.risk_coverage_curve(y, p)
    found = metrics.aurc(y, p)
    assert found == pytest.approx(np.mean(curve.risk), abs=3 / 300)


LOSSES = {
    "error": lambda y, p: p.argmax(-1) != y,
    "brier": lambda y, p: np.sum((p - np.eye(4)[y]) ** 2, -1),
    "nll": lambda y, p: -np.log(p[np.arange(len(y)), y]),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_labels(loss):
    each = LOSSES[loss](LABELS, P)
    order = np.argsort(1 - P.max(-1))
    expected = np.cumsum(each[order]) / np.arange(1, COUNT + 1)
    outputs = np.log(P)[np.newaxis]
    for given in (P, classes(outputs)):
        curve = metrics.risk_coverage_curve(LABELS, given, loss=loss)
        np.testing.assert_allclose(curve.risk, expected, atol=1e-6)
    assert curve.threshold[-1] == pytest.approx(np.max(1 - P.max(-1)))


def test_a_perfect_order_and_no_error():
    y, mean = GIVEN["y"], GIVEN["mean"]
    by = np.abs(y - mean)
    for error in ("rmse", "mae"):
        assert metrics.ause(y, mean, error=error, by=by) == pytest.approx(
            0, abs=1e-12
        )
        assert metrics.ause(y, mean, error=error, by=-by) > 0.3
        assert metrics.ause(y, y, error=error, by=by) == 0
    assert metrics.aurc(LABELS, np.eye(4)[LABELS]) == 0
    assert metrics.coverage_at_risk(LABELS, np.eye(4)[LABELS]) == 1
    assert metrics.coverage_at_risk(LABELS, np.eye(4)[(LABELS + 1) % 4]) == 0


def test_the_variance_ranks_numbers_by_default():
    p = RegressionPredictive(
        np.concatenate([GIVEN["mean"], GIVEN["sd"]], -1)[None],
        likelihoods.Normal(),
    )
    y = GIVEN["y"]
    for of in (metrics.aurc, metrics.ause):
        found = of(y, p)
        assert found == pytest.approx(of(y, p, by="variance"))
        assert found == pytest.approx(of(y, GIVEN["mean"], by=p.variance))
        assert found != of(y, p, by=-p.variance)


def test_one_row():
    y, p = [1], np.array([[0.3, 0.7]])
    assert metrics.aurc(y, p) == metrics.aurc(y, p, is_excess=True) == 0
    assert metrics.risk_at_coverage([0], p) == 1
    assert metrics.ause([0], p) == 0
    curve = metrics.risk_coverage_curve(y, p)
    assert curve == (1, 0, pytest.approx(0.3))
