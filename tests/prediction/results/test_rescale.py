"""Predictions in other units."""

import numpy as np
import pytest

from tests.prediction.results.test_base import normals
from tests.prediction.results.test_regression import make_counts
from tfpbnn import likelihoods
from tfpbnn.prediction.results import RegressionPredictive

SCALE, OFFSET = np.array([17.0, 0.02]), np.array([36.0, -5.0])
rng = np.random.default_rng(0)
OUTPUTS = rng.standard_normal((9, 5, 6))
Y = rng.standard_normal((5, 2))

KINDS = {
    "normal": (likelihoods.Normal(), 4),
    "known": (likelihoods.Normal(scale=0.5), 2),
    "laplace": (likelihoods.Laplace(), 4),
    "student_t": (likelihoods.StudentT(df=None), 6),
    "mixture": (likelihoods.MixtureNormal(1), 6),
    "mse": (likelihoods.from_loss("mse", 2), 2),
}


def make(name):
    likelihood, size = KINDS[name]
    return RegressionPredictive(OUTPUTS[..., :size], likelihood)


@pytest.mark.parametrize("name", KINDS)
def test_all_that_is_told_is_in_the_new_units(name):
    p = make(name)
    q, y = p.rescale(SCALE, OFFSET), OFFSET + SCALE * Y
    close = np.testing.assert_allclose
    close(q.mean, OFFSET + SCALE * p.mean)
    close(q.epistemic_variance, SCALE**2 * p.epistemic_variance)
    close(q.aleatoric_variance, SCALE**2 * p.aleatoric_variance)
    close(q.stddev, SCALE * p.stddev)
    close(q.draw_means, OFFSET + SCALE * p.draw_means)
    close(q.quantile([0.1, 0.8]), OFFSET + SCALE * p.quantile([0.1, 0.8]), 1e-9)
    close(q.interval(0.5), OFFSET + SCALE * np.array(p.interval(0.5)), 1e-9)
    close(q.sample(3, seed=1), OFFSET + SCALE * p.sample(3, seed=1), 1e-6)
    close(q.log_prob(y), p.log_prob(Y) - np.log(SCALE).sum())
    close(q.cdf(y), p.cdf(Y))
    close(q.pit(y), p.pit(Y))
    assert q.coverage(y) == p.coverage(Y)
    close(q[1:3].mean, q.mean[1:3])
    assert q.draws == p.draws
    back = q.rescale(1 / SCALE, -OFFSET / SCALE)
    close(back.log_prob(Y), p.log_prob(Y))


@pytest.mark.parametrize("name", KINDS)
def test_scores_of_one_unit(name):
    p = make(name)
    q, y = p.rescale(17.0, 36.0), 36 + 17 * Y
    assert q.crps(y) == pytest.approx(17 * p.crps(Y), rel=1e-6)
    assert q.rmse(y) == pytest.approx(17 * p.rmse(Y), rel=1e-9)
    assert q.nll(y) == pytest.approx(p.nll(Y) + 2 * np.log(17.0), rel=1e-9)


def test_without_draws():
    parts = normals((7, 5, 4)).summaries
    quantiles = {0.1: parts[0] - 1, 0.9: parts[0] + 1}
    p = RegressionPredictive.without_draws(
        7, parts, likelihoods.Normal(), "marginal", quantiles
    )
    q = p.rescale(SCALE, OFFSET)
    np.testing.assert_allclose(q.mean, OFFSET + SCALE * p.mean)
    np.testing.assert_allclose(q.variance, SCALE**2 * p.variance)
    np.testing.assert_allclose(
        q.interval(0.8)[0], OFFSET + SCALE * quantiles[0.1]
    )
    with pytest.raises(ValueError, match="as many targets"):
        p.rescale([1.0, 2.0, 3.0])


def test_what_has_no_other_units():
    with pytest.raises(ValueError, match=r"`rescale` .* Received: Poisson"):
        make_counts((3, 4, 1)).rescale(2.0)
    with pytest.raises(ValueError, match="`scale` must be a positive"):
        make("normal").rescale(-1.0)
    with pytest.raises(ValueError, match="as many targets"):
        make("normal").rescale([1.0, 2.0, 3.0])
