"""What thresholds promise, in 1,000 simulations each."""

import numpy as np
import pytest
from scipy import stats

from tests.statistics import FALSE_FAIL
from tfpbnn.decisions import guarantees
from tfpbnn.decisions.guarantees import Cases, _binomial, _bounded

RUNS = 1000
# Uncertainties are 0, 1, .., 19 with these probabilities, and errors have
# these: ties are many, and the risk among the accepted rises, falls and rises.
LEVELS = np.arange(20.0)
SHARES = np.full(20, 1 / 20)
ERRORS = np.array([0.02] * 4 + [0.35] * 2 + [0.0] * 8 + [0.2] * 6)
SIZE = 400


def simulated(seed, size=SIZE, spread=0.0):
    """Held-out cases; with a spread uncertainties are all different."""
    rng = np.random.default_rng(seed)
    level = rng.choice(20, size=size, p=SHARES)
    loss = rng.uniform(size=size) < ERRORS[level]
    score = level + spread * rng.uniform(size=size)
    return Cases.of(score, loss * 1.0, np.ones(size))


def truth(threshold, shares=SHARES, spread=0.0):
    """The share of all cases that are accepted, and accepted and wrong."""
    if spread:
        below = np.clip((threshold - LEVELS) / spread, 0, 1)
    else:
        below = threshold > LEVELS
    return np.sum(shares * below), np.sum(shares * below * ERRORS)


def most_alarms(rate):
    """More than this many of 1,000 happen by chance once in a million."""
    return stats.binom.isf(FALSE_FAIL, RUNS, rate)


def assert_at_most(values, limit):
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) <= limit + stats.norm.isf(FALSE_FAIL) * error


@pytest.mark.parametrize("spread", [0.0, 0.9])
@pytest.mark.parametrize("size", [150, SIZE])
def test_risk_among_accepted_is_kept_as_often_as_promised(size, spread):
    broken, accepted = 0, []
    for seed in range(RUNS):
        cases = simulated(seed, size, spread)
        threshold = guarantees.for_accepted_risk(cases, 0.1, 0.9)
        share, wrong = truth(threshold, spread=spread)
        broken += share > 0 and wrong / share > 0.1
        accepted.append(share)
    assert broken <= most_alarms(0.1)
    if size == SIZE:
        assert np.mean(accepted) > 0.3


def test_tests_at_many_thresholds_are_one_promise():
    """Where all thresholds are just too risky, each one found is broken."""
    broken = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        score, loss = rng.uniform(size=SIZE), rng.uniform(size=SIZE) < 0.101
        cases = Cases.of(score, loss * 1.0, np.ones(SIZE))
        broken += guarantees.for_accepted_risk(cases, 0.1, 0.9) > -np.inf
    assert broken <= most_alarms(0.1)


def weighted(seed):
    """Held-out cases of another population, of more certain cases."""
    cases = simulated(seed, 4000)
    likely = 0.2 + LEVELS / 5
    weight = likely[np.floor(cases.score).astype(int)]
    return cases._replace(weight=weight), likely * SHARES / np.mean(likely)


def test_weights_are_those_of_the_new_population():
    broken, accepted, overall, covered = 0, [], [], []
    for seed in range(RUNS):
        cases, shares = weighted(seed)
        # Of the held-out cases alone less than 0.1 are wrong.
        risk = guarantees.for_accepted_risk(cases, 0.115, 0.9)
        share, wrong = truth(risk, shares)
        broken += share > 0 and wrong / share > 0.115
        safe = guarantees.for_accepted_risk(cases, 0.2, 0.9)
        accepted.append(truth(safe, shares)[0])
        at = guarantees.for_overall_risk(cases, 0.06)
        overall.append(truth(at, shares)[1])
        covered.append(truth(guarantees.for_coverage(cases, 0.7), shares)[0])
    assert broken <= most_alarms(0.1)
    assert np.mean(accepted) > 0.5
    assert_at_most(overall, 0.06)
    assert np.mean(overall) > 0.04
    assert_at_most(-np.asarray(covered), -0.7)


@pytest.mark.parametrize("size", [30, SIZE])
def test_overall_risk_is_kept_on_average(size):
    found = []
    for seed in range(RUNS):
        cases = simulated(seed, size, spread=0.9)
        threshold = guarantees.for_overall_risk(cases, 0.05)
        found.append(truth(threshold, spread=0.9)[1])
    assert_at_most(found, 0.05)
    # No more cautious than conformal risk control needs to be.
    assert np.mean(found) > 0.05 - 2 / size - 0.005


@pytest.mark.parametrize("size", [5, SIZE])
def test_coverage_is_kept_on_average(size):
    found = []
    for seed in range(RUNS):
        cases = simulated(seed, size, spread=1.0)
        threshold = guarantees.for_coverage(cases, 0.8)
        found.append(truth(threshold, spread=1.0)[0])
    assert_at_most(-np.asarray(found), -0.8)
    assert np.mean(found) < 0.8 + 1 / size + 0.01


def test_costs_stay_below_their_bound():
    broken = 0
    for seed in range(RUNS):
        cases = simulated(seed)
        threshold, cost = guarantees.for_cost(cases, 5.0, 0.6)
        share, wrong = truth(threshold)
        most = cost + 5.6 * guarantees.cost_margin(SIZE, 0.9)
        broken += 5 * wrong + 0.6 * (1 - share) > most
    assert broken <= most_alarms(0.1)


def test_the_least_cost_is_that_of_all_thresholds():
    cases = simulated(0)
    each = []
    for threshold in [*LEVELS, np.inf]:
        kept = cases.score < threshold
        each.append(np.mean(np.where(kept, 5 * cases.loss, 0.6)))
    _, cost = guarantees.for_cost(cases, 5.0, 0.6)
    np.testing.assert_allclose(cost, min(each))


def test_p_values():
    counts, errors = np.array([10, 50, 50, 3, 0]), np.array([0, 2, 9, 3, 0])
    expected = stats.binom.cdf(errors, counts, 0.1)
    np.testing.assert_allclose(_binomial(counts, errors, 0.1), expected)
    # Bounds of these, for numbers between 0 and 1 of the same sums.
    assert np.all(_bounded(counts, errors, 0.1) >= 0.99 * expected)
    assert _bounded(np.array([200]), np.array([2.5]), 0.1)[0] < 1e-4


def test_few_cases_promise_nothing():
    cases = simulated(0, size=8)
    assert guarantees.for_overall_risk(cases, 0.1) == -np.inf
    assert guarantees.for_accepted_risk(cases, 0.1, 0.9) == -np.inf
    assert guarantees.for_coverage(cases, 0.95) == np.inf
