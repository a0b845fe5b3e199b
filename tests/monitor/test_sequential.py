"""Bets against a plain loop, and their rates of false alarms and delays."""

import numpy as np
import pytest
from scipy import stats

from tfpbnn.monitor import BettingTest, sequential
from tfpbnn.monitor.reference import STATISTICS, Variable, claim

FALSE_FAIL = 1e-6


def most(count, rate):
    """So many alarms, or more, have a chance of FALSE_FAIL at this rate."""
    return stats.binom.isf(FALSE_FAIL, count, rate) + 1


def money_of(x, low, high, control):
    """The money of both gamblers, by a plain loop over bets and rows."""
    ends = []
    for sign, end in ((-1, low), (1, high)):
        largest = 1 / end if sign > 0 else 1 / (1 - end)
        total = 0.0
        for share in sequential._SHARES:
            factors = 1 + sign * share * largest * (x - end)
            bets = 0.0
            for t in range(len(x)):
                before, after = np.log(2) / np.log([t + 2, t + 3])
                new = before - after if control == "ever" else 1.0
                bets = (bets + new) * factors[t]
            total += bets / len(sequential._SHARES)
        unbet = np.log(2) / np.log(len(x) + 2) if control == "ever" else 0.0
        ends.append(total + unbet)
    return np.mean(ends)


@pytest.mark.parametrize("control", ["ever", "run"])
def test_money_is_that_of_each_bet(control):
    x = np.random.default_rng(0).uniform(size=(60, 2))
    low, high = np.array([0.3, 0.0]), np.array([0.4, 0.7])
    one = BettingTest(low, high, control=control)
    for part in np.split(x, [1, 7, 40]):  # how rows come does not matter
        one.update(part)
    expected = [money_of(x[:, i], low[i], high[i], control) for i in (0, 1)]
    np.testing.assert_allclose(one.e_values, expected, rtol=1e-10)
    other = BettingTest(low, high, control=control)
    other.restore(one.state())
    other.update(x[:5])
    one.update(x[:5])
    np.testing.assert_array_equal(one.e_values, other.e_values)


def alarms_of(one, draw, rows, step):
    """Looks after each `step` rows; when alarms were raised, or inf."""
    found = np.full(len(one.low), np.inf)
    for start in range(0, rows, step):
        one.update(draw(step))
        found = np.minimum(found, np.where(one.has_alarm, start + step, np.inf))
    return found


@pytest.mark.parametrize("kind", ["constant", "adversary", "uniform"])
def test_false_alarms_are_as_rare_as_stated(kind):
    """One fails by chance once in 10^6; the rate is 5 % at most, ever."""
    rng, streams = np.random.default_rng(1), 1000
    one = BettingTest(np.full(streams, 0.85), 0.9, alpha=0.05)

    def draw(step):
        if kind == "uniform":  # of the mean 0.85
            return 0.7 + 0.3 * rng.uniform(size=(step, streams))
        mean = np.full(streams, 0.9)
        if kind == "adversary":  # goes on where it has won
            log_e = one._log_e()
            mean = np.where(log_e[1] > log_e[0], 0.9, 0.85)
        return rng.uniform(size=(step, streams)) < mean

    alarms = alarms_of(one, draw, rows=3000, step=50)
    assert np.isfinite(alarms).sum() < most(streams, 0.05)


def test_runs_without_false_alarms_are_as_long_as_stated():
    """The mean run is 500 rows or more, within 5 standard errors."""
    rng, streams = np.random.default_rng(2), 300
    one = BettingTest(np.full(streams, 0.9), 0.9, alpha=1 / 500, control="run")
    alarms = alarms_of(
        one, lambda n: rng.uniform(size=(n, streams)) < 0.9, 4000, 10
    )
    runs = np.minimum(alarms, 4000)
    error = runs.std(ddof=1) / np.sqrt(streams)
    assert runs.mean() > 500 - 5 * error


@pytest.mark.parametrize(
    ("control", "alpha", "delay"), [("ever", 1e-3, 600), ("run", 1e-4, 300)]
)
def test_a_change_is_found_within_the_stated_delay(control, alpha, delay):
    """Coverage of 90 % falls to 75 % after 5,000 rows: found in 9 of 10."""
    rng, streams = np.random.default_rng(3), 100
    one = BettingTest(
        np.full(streams, 0.88), 0.92, alpha=alpha, control=control
    )
    one.update(rng.uniform(size=(5000, streams)) < 0.9)
    assert not one.has_alarm.any()
    one.update(rng.uniform(size=(delay, streams)) < 0.75)
    assert one.has_alarm.mean() >= 0.9
    assert not one.is_higher[one.has_alarm].any()


def drifts(shift, scale, seed, replicates=100, rows=10000):
    """Alarms of ranks in references of their own, location and spread."""
    rng = np.random.default_rng(seed)
    references = [Variable.of(rng.normal(size=200)) for _ in range(replicates)]
    x = shift + scale * rng.normal(size=(rows, replicates))
    ranks = np.stack(
        [v.ranks(x[:, i]) for i, v in enumerate(references)], axis=1
    )
    found = {}
    for name, (function, _) in STATISTICS.items():
        ends = [claim(v, name, beta=0.025) for v in references]
        one = BettingTest(*np.transpose(ends), alpha=0.025)
        for part in np.array_split(function(ranks), 20):
            one.update(part)
        found[name] = one.has_alarm
    return found


def test_no_drift_is_found_where_there_is_none():
    """By chance of the reference too: 5 % at most for each statistic."""
    for alarms in drifts(0.0, 1.0, seed=4).values():
        assert alarms.sum() < most(100, 0.05)


@pytest.mark.parametrize(
    ("shift", "scale", "statistic"),
    [(0.6, 1.0, "location"), (-0.6, 1.0, "location"), (0.0, 2.5, "spread")],
)
def test_drift_is_found(shift, scale, statistic):
    found = drifts(shift, scale, seed=5, replicates=20, rows=4000)
    assert found[statistic].mean() >= 0.9


def test_missing_numbers_are_not_bet_on():
    one, two = BettingTest(0.4, 0.6), BettingTest([0.4, 0.4], 0.6)
    x = np.random.default_rng(0).uniform(size=50)
    one.update(x)
    two.update(np.stack([x, np.full(50, np.nan)], axis=1))
    assert two.e_values[0] == one.e_values[0]
    assert two.e_values[1] < 1 + 1e-12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"low": 0.7, "high": 0.3}, "low <= high"),
        ({"low": -0.1, "high": 0.3}, "low <= high"),
        ({"low": np.nan, "high": 0.3}, "low <= high"),
        ({"low": 0.1, "high": 0.3, "alpha": 0}, "`alpha`"),
        ({"low": 0.1, "high": 0.3, "control": "never"}, "`control`"),
    ],
    ids=["order", "negative", "nan", "alpha", "control"],
)
def test_bad_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        BettingTest(**options)


@pytest.mark.parametrize(
    "x", [[1.5], [[0.1, 0.2]], 0.3], ids=["range", "columns", "scalar"]
)
def test_bad_numbers(x):
    with pytest.raises(ValueError, match="`x` must"):
        BettingTest(0.4, 0.6).update(x)
