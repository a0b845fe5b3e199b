"""Counts by sums of probabilities, beside distribution functions."""

import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import likelihoods
from tfpbnn.base.tfp import tfp
from tfpbnn.prediction.results import (
    RegressionPredictive,
    counts,
    location_scale,
)

LEVELS = np.array([1e-12, 0.05, 0.5, 0.95, 0.999])
rng = np.random.default_rng(0)
LOGS = 1 + 0.7 * rng.standard_normal((6, 12, 4))


class Doubled(likelihoods.Poisson):
    """A user's own: TFP's Poisson of twice the rate."""

    def _marginals(self, log_rate):
        return tfp.distributions.Poisson(log_rate=log_rate + np.log(2.0))


class Inflated(likelihoods.Poisson):
    """A user's own whose probabilities do not follow."""

    def _marginals(self, log_rate):
        return tfp.distributions.ZeroInflatedNegativeBinomial(
            total_count=tf.fill(log_rate.shape, tf.cast(5.0, log_rate.dtype)),
            logits=log_rate,
            inflated_loc_probs=tf.fill(
                log_rate.shape, tf.cast(0.3, log_rate.dtype)
            ),
        )


def spread(*logs):
    """Rates from which a row or a draw goes another way than others."""
    found = LOGS[..., :1].copy()
    found[: len(logs) // 2, 3, 0] = logs[0]
    found[len(logs) // 2 :, 5, 0] = logs[-1]
    return found


# The likelihood, outputs, and how many rows are left to the plain way.
CASES = {
    "poisson": (likelihoods.Poisson(), LOGS[..., :1], 0),
    "targets": (likelihoods.Poisson(), LOGS[..., :3], 0),
    "steps": (likelihoods.Poisson(), LOGS.reshape(6, 4, 3, 4), 0),
    "one_row": (likelihoods.Poisson(), LOGS[:, :1, :1], 0),
    "one_draw": (likelihoods.Poisson(), LOGS[:1, :, :1], 0),
    "single": (likelihoods.Poisson(), LOGS[..., :1].astype(np.float32), 0),
    "rates": (likelihoods.Poisson(False), np.exp(LOGS[..., :1]), 0),
    "surely_zero": (likelihoods.Poisson(), LOGS[..., :1] - 60.0, 0),
    "large": (likelihoods.Poisson(), spread(3.0, 6.0), 0),
    "too_large": (likelihoods.Poisson(), spread(3.0, 9.0), 1),
    "negative_binomial": (likelihoods.NegativeBinomial(), LOGS[..., :2], 0),
    "two_of_them": (likelihoods.NegativeBinomial(), LOGS, 0),
    "hardly_dispersed": (
        likelihoods.NegativeBinomial(),
        LOGS[:, :4, :2] + [0.0, 15.0],
        0,
    ),
    "heavy_tails": (likelihoods.NegativeBinomial(), LOGS[..., :2] - 2.0, 0),
    "own": (Doubled(), LOGS[..., :1], 0),
}


@pytest.fixture
def searched(monkeypatch):
    """The rows that are left to the plain way."""
    found, search = [], RegressionPredictive._search_quantiles

    def count(p, levels):
        found.append(len(p))
        return search(p, levels)

    monkeypatch.setattr(RegressionPredictive, "_search_quantiles", count)
    return found


@pytest.mark.parametrize("name", CASES)
def test_as_the_distribution_functions(name, searched):
    likelihood, outputs, left = CASES[name]
    p = RegressionPredictive(outputs, likelihood)
    found = p.quantile(LEVELS)
    assert sum(searched) == left
    np.testing.assert_array_equal(found, p._search_quantiles(LEVELS))
    y = p.sample(1, seed=0)[0].astype(np.float64)
    y[-1] += 30.0
    np.testing.assert_allclose(
        p.crps_by_target(y), p._search_crps(y), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_compiled_and_in_chunks(name, monkeypatch):
    likelihood, outputs, _ = CASES[name]
    p = RegressionPredictive(outputs, likelihood)
    y = p.sample(1, seed=0)[0]
    expected = p.quantile(LEVELS), p.crps(y)
    monkeypatch.setattr(location_scale, "LARGE", 0)
    monkeypatch.setattr(counts, "CHUNK", 6 * 5 * outputs.shape[-1])
    q = RegressionPredictive(outputs, likelihood)
    np.testing.assert_array_equal(q.quantile(LEVELS), expected[0])
    assert q.crps(y) == pytest.approx(expected[1], rel=1e-9)


def test_what_does_not_follow_is_searched(searched):
    p = RegressionPredictive(LOGS[:, :3, :1], Inflated())
    p.interval(0.9)
    assert searched == [3]
    assert p.quantile(1 - 1e-12).shape == (3, 1)


def test_levels_beyond_what_sums_can_tell_are_searched(searched):
    p = RegressionPredictive(LOGS[:, :3, :1], likelihoods.Poisson())
    p.quantile([0.5, 1 - 1e-12])
    assert searched == [3]


def test_rows_that_do_not_count_are_not_gone_through():
    outputs = LOGS[:, :4, :1].copy()
    outputs[:, 2] = np.nan
    mask = np.array([True, True, False, True])
    p = RegressionPredictive(outputs, likelihoods.Poisson(), mask=mask)
    y = np.array([0, 3, -1, 7])
    expected = RegressionPredictive(
        outputs[:, mask], likelihoods.Poisson()
    ).crps(y[mask])
    assert p.crps(y) == pytest.approx(expected, rel=1e-12)
