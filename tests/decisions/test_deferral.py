"""The policy on predictions, and decisions under costs."""

import json

import numpy as np
import pytest
from scipy import stats

from tests.calibration import made
from tfpbnn import decisions, likelihoods
from tfpbnn.decisions import DeferralPolicy, guarantees
from tfpbnn.decisions.guarantees import Cases
from tfpbnn.prediction import ClassificationPredictive


@pytest.fixture(scope="module")
def held_out():
    outputs, y = made.classes(1500, draws=4)
    return made.labels(outputs), y


AIMS = {
    "risk": {"target_risk": 0.1},
    "all": {"target_risk": 0.1, "of": "all"},
    "coverage": {"target_coverage": 0.6},
    "costs": {"cost_of_error": 5.0, "cost_of_deferral": 1.0},
}


@pytest.mark.parametrize("aim", AIMS)
def test_a_policy_keeps_its_aim(held_out, aim):
    p, y = held_out
    policy = DeferralPolicy().fit(p, y, **AIMS[aim])
    cases = Cases.of(1 - p.mean.max(-1), (p.labels != y) * 1.0, np.ones(len(y)))
    expected = {
        "risk": lambda: guarantees.for_accepted_risk(cases, 0.1, 0.9),
        "all": lambda: guarantees.for_overall_risk(cases, 0.1),
        "coverage": lambda: guarantees.for_coverage(cases, 0.6),
        "costs": lambda: guarantees.for_cost(cases, 5.0, 1.0)[0],
    }[aim]()
    np.testing.assert_allclose(policy.threshold, expected, rtol=1e-12)
    found = policy.decide(p)
    score = 1 - p.mean.max(-1)
    # Rounding may put the case of the threshold on either side.
    is_far = np.abs(score - policy.threshold) > 1e-9
    np.testing.assert_array_equal(
        found.accept[is_far], score[is_far] < policy.threshold
    )
    np.testing.assert_allclose(policy.coverage, found.accept.mean())
    np.testing.assert_allclose(
        policy.risk, (p.labels != y)[found.accept].mean()
    )
    assert 0.2 < policy.coverage < 0.99
    assert "if new cases are drawn as held-out ones were" in policy.guarantee


def test_chow_s_rule_is_found_from_calibrated_predictions():
    """Of true probabilities the best threshold is the ratio of costs."""
    outputs, y = made.classes(20_000)
    p = made.labels(outputs)
    policy = DeferralPolicy().fit(p, y, cost_of_error=4.0, cost_of_deferral=1.0)
    np.testing.assert_allclose(policy.threshold, 0.25, atol=0.05)
    costs = 4 * (1 - np.eye(3))
    chosen = decisions.optimal(p, costs, cost_of_deferral=1.0)
    np.testing.assert_array_equal(chosen >= 0, 1 - p.mean.max(-1) <= 0.25)
    assert np.all(chosen[chosen >= 0] == p.labels[chosen >= 0])


def test_masked_and_weightless_cases_do_not_count(held_out):
    p, y = held_out
    kept = np.random.default_rng(0).uniform(size=len(y)) < 0.7
    wrong = np.where(kept, y, (p.labels + 1) % 3)
    masked = made.labels(p.outputs, mask=kept)
    by, aim = "predictive_entropy", {"target_risk": 0.15}
    policies = [
        DeferralPolicy(by).fit(p[kept], y[kept], **aim),
        DeferralPolicy(by).fit(masked, wrong, **aim),
        DeferralPolicy(by).fit(p, wrong, sample_weight=2.0 * kept, **aim),
    ]
    assert len({one.threshold for one in policies}) == 1
    assert len({one.guarantee for one in policies}) == 1
    found = policies[0].decide(masked)
    assert not np.any(found.accept[~kept])
    assert set(found.reasons[~kept]) == {"left out by the mask"}


def test_reasons_tell_ambiguous_from_unfamiliar():
    outputs, y = made.classes(800, draws=8)
    policy = DeferralPolicy("predictive_entropy").fit(
        made.labels(outputs), y, target_coverage=0.8
    )
    sure = np.array([9.0, 0, 0])
    ambiguous = np.tile([0.01, 0, 0], (8, 1))
    unfamiliar = 9 * np.eye(3)[np.arange(8) % 3]
    new = np.stack([np.tile(sure, (8, 1)), ambiguous, unfamiliar], axis=1)
    found = policy.decide(made.labels(new))
    np.testing.assert_array_equal(found.accept, [True, False, False])
    words = "accepted", "ambiguous data (aleatoric", "unfamiliar input (epist"
    for reason, word in zip(found.reasons, words, strict=True):
        assert word in reason


def test_numbers_are_judged_by_a_tolerance():
    outputs, y = made.numbers(1000, targets=2, draws=3)
    p = made.normal(outputs)
    policy = DeferralPolicy(tolerance=1.5).fit(p, y, target_coverage=0.5)
    found = policy.decide(p)
    assert found.accept.shape == (1000, 2)
    np.testing.assert_allclose(found.epistemic**2, p.epistemic_variance)
    wrong = np.abs(y - p.mean) > 1.5
    np.testing.assert_allclose(policy.risk, wrong[found.accept].mean())
    assert "places of a row as those of other rows" in policy.guarantee


def test_files(held_out, tmp_path):
    p, y = held_out
    path = tmp_path / "policy.json"
    for kwargs in (AIMS["risk"], {"target_coverage": 0.9999}):
        policy = DeferralPolicy("predictive_entropy").fit(p, y, **kwargs)
        policy.save(path)
        json.loads(path.read_text())
        loaded = decisions.load(path)
        assert loaded.guarantee == policy.guarantee
        assert repr(loaded) == repr(policy)
        ours, theirs = policy.decide(p), loaded.decide(p)
        np.testing.assert_array_equal(ours.reasons, theirs.reasons)


def test_too_few_cases_defer_all_and_say_so(held_out):
    p, y = held_out
    with pytest.warns(UserWarning, match="10 held-out cases are too few"):
        policy = DeferralPolicy().fit(p[:10], y[:10], target_risk=0.05)
    assert not np.any(policy.decide(p).accept)
    assert policy.coverage == 0
    assert np.isnan(policy.risk)


def test_weights_promise_no_cost(held_out):
    p, y = held_out
    weights = np.random.default_rng(0).uniform(0.5, 1, len(y))
    policy = DeferralPolicy().fit(p, y, sample_weight=weights, **AIMS["costs"])
    assert "nothing is promised" in policy.guarantee


def test_expected_costs():
    p = np.array([[0.9, 0.1], [0.6, 0.4]])
    costs = [[0, 1, 3], [10, 0, 3]]
    expected = [[1.0, 0.9, 3.0], [4.0, 0.6, 3.0]]
    np.testing.assert_allclose(decisions.expected_cost(p, costs), expected)
    np.testing.assert_array_equal(decisions.optimal(p, costs), [1, 1])
    logits = np.log(p / p[:, :1])[np.newaxis, :, 1:]
    mask = np.array([True, False])
    yes = ClassificationPredictive(logits, likelihoods.Bernoulli(), mask=mask)
    found = decisions.expected_cost(yes, costs)
    np.testing.assert_allclose(found[0, 0], expected[0])
    assert np.all(np.isnan(found[1]))
    np.testing.assert_array_equal(decisions.optimal(yes, costs), [[1], [-1]])


def test_expected_utility_of_a_newsvendor():
    """The best order is a quantile of the demand: that of the margin."""
    outputs, _ = made.numbers(3)
    p = made.normal(outputs)
    orders = np.linspace(-3, 4, 141)
    worth = decisions.expected_utility(
        p,
        lambda y, order: 4 * np.minimum(y, order) - order,
        orders,
        num_samples=20_000,
        seed=0,
    )
    best = orders[np.argmax(worth, axis=-1)]
    np.testing.assert_allclose(best, p.quantile(0.75)[:, 0], atol=0.1)
    squares = decisions.expected_utility(
        p, lambda y, a: -np.square(y - a), [0.5], num_samples=20_000, seed=1
    )
    exact = -(p.variance + (p.mean - 0.5) ** 2)
    sd = np.sqrt(2 * p.variance**2 + 4 * p.variance * (p.mean - 0.5) ** 2)
    error = (squares - exact) / (sd / np.sqrt(20_000))
    assert np.abs(error).max() < stats.norm.isf(1e-6 / 6)


P, Y = made.labels(made.classes(50, draws=2)[0]), made.classes(50)[1]
Q = made.normal(made.numbers(50, draws=2)[0])
ONE = {"target_risk": 0.1}
BAD = {
    "no aim": (lambda: DeferralPolicy().fit(P, Y), "must be given"),
    "two aims": (
        lambda: DeferralPolicy().fit(P, Y, target_coverage=0.5, **ONE),
        "must be given. Received: target_risk=0.1, target_coverage=0.5",
    ),
    "one cost": (
        lambda: DeferralPolicy().fit(P, Y, cost_of_error=1.0),
        "`cost_of_deferral` must be",
    ),
    "risk": (
        lambda: DeferralPolicy().fit(P, Y, target_risk=1.0),
        "`target_risk` must be a number between",
    ),
    "coverage": (
        lambda: DeferralPolicy().fit(P, Y, target_coverage=0.0),
        "`target_coverage` must be",
    ),
    "confidence": (
        lambda: DeferralPolicy().fit(P, Y, confidence=1.0, **ONE),
        "`confidence` must be",
    ),
    "of": (
        lambda: DeferralPolicy().fit(P, Y, of="some", **ONE),
        "`of` must be one of",
    ),
    "rows": (lambda: DeferralPolicy().fit(P, Y[:3], **ONE), "one row for each"),
    "labels": (lambda: DeferralPolicy().fit(P, Y + 5, **ONE), "labels"),
    "nan": (
        lambda: DeferralPolicy(tolerance=1.0).fit(
            Q, np.full(50, np.nan), **ONE
        ),
        "Received: .*nan",
    ),
    "by": (lambda: DeferralPolicy("x").fit(P, Y, **ONE), "`name` must be"),
    "no tolerance": (
        lambda: DeferralPolicy().fit(Q, np.zeros(50), **ONE),
        "`tolerance` must be given for predictions of numbers",
    ),
    "tolerance": (
        lambda: DeferralPolicy(tolerance=1.0).fit(P, Y, **ONE),
        "`tolerance` must be given for predictions of numbers",
    ),
    "not fitted": (lambda: DeferralPolicy().decide(P), "must be fitted"),
    "costs": (
        lambda: decisions.expected_cost(P, np.ones((2, 3))),
        r"`\[3, A\]`. Received: the shape \(2, 3\)",
    ),
    "infinite": (
        lambda: decisions.optimal(P, [[np.inf]] * 3),
        "`costs` must be finite",
    ),
    "logits": (
        lambda: decisions.optimal(np.ones((2, 3)), np.ones((3, 2))),
        "must sum to 1",
    ),
    "actions": (
        lambda: decisions.expected_utility(Q, lambda y, _: y, []),
        "`actions` must have",
    ),
    "utility": (
        lambda: decisions.expected_utility(Q, lambda *_: 1.0, [0]),
        "`utility` must return a number for each target",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_kinds():
    with pytest.raises(TypeError, match="must be of labels"):
        decisions.expected_cost(Q, np.ones((2, 2)))
    policy = DeferralPolicy(tolerance=1.0).fit(
        Q, np.zeros(50), target_coverage=0.5
    )
    with pytest.raises(ValueError, match="must be of the same kind"):
        policy.decide(P)
