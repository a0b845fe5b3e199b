"""Predictions of numbers and counts, against NumPy and scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from tests.prediction.results.test_base import normals, scale_of
from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import RegressionPredictive


def make_counts(shape, mean_log=1.0, seed=0):
    rng = np.random.default_rng(seed)
    outputs = mean_log + 0.7 * rng.standard_normal(shape)
    return RegressionPredictive(outputs, likelihoods.Poisson())


def make_negative_binomial(shape, seed=0):
    rng = np.random.default_rng(seed)
    outputs = 1 + 0.7 * rng.standard_normal((*shape, 2))
    p = RegressionPredictive(outputs, likelihoods.NegativeBinomial())
    mean, r = np.exp(outputs[..., :1]), scale_of(outputs[..., 1:])
    return p, stats.nbinom(r, r / (r + mean))


MOMENTS = {
    "normal": (
        likelihoods.Normal(),
        lambda m, r: stats.norm(m, scale_of(r)),
    ),
    "laplace": (
        likelihoods.Laplace(scale=0.7),
        lambda m: stats.laplace(m, 0.7),
    ),
    "student_t": (
        likelihoods.StudentT(df=4.0),
        lambda m, r: stats.t(4, m, scale_of(r)),
    ),
    "poisson": (likelihoods.Poisson(), lambda m: stats.poisson(np.exp(m))),
}


@pytest.mark.parametrize("shape", [(9, 5), (1, 5), (9, 5, 3)])
@pytest.mark.parametrize("name", MOMENTS)
def test_moments_follow_the_law_of_total_variance(name, shape):
    likelihood, make = MOMENTS[name]
    size = likelihood.params_size(2)
    outputs = np.random.default_rng(0).standard_normal((*shape, size))
    p = RegressionPredictive(outputs, likelihood)
    each = make(*np.split(outputs, size // 2, axis=-1))
    second = each.var() + each.mean() ** 2
    mean, variance = each.mean().mean(0), each.var() + 0 * each.mean()
    np.testing.assert_allclose(p.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(
        p.epistemic_variance, each.mean().var(0), atol=1e-12
    )
    np.testing.assert_allclose(p.aleatoric_variance, variance.mean(0))
    np.testing.assert_allclose(p.variance, second.mean(0) - mean**2)
    np.testing.assert_allclose(p.stddev**2, p.variance)
    assert p.mean.shape == (*shape[1:], 2)


def test_infinite_variances_still_have_quantiles():
    p = RegressionPredictive(
        np.full((3, 2, 1), 5.0), likelihoods.StudentT(df=1.0, scale=2.0)
    )
    expected = stats.cauchy.ppf([0.01, 0.5, 0.9], 5, 2)
    found = p.quantile([0.01, 0.5, 0.9])[:, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


LEVELS = [1e-5, 0.1, 0.5, 0.77, 1 - 1e-5]


@pytest.mark.parametrize("shape", [(7, 5), (1, 5), (7, 5, 3)])
@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_quantiles_invert_the_mixture(name, shape):
    likelihood, make = MOMENTS[name]
    size = likelihood.params_size(2)
    outputs = 3 * np.random.default_rng(0).standard_normal((*shape, size))
    p = RegressionPredictive(outputs, likelihood)
    found = p.quantile(LEVELS)
    assert found.shape == (5, *shape[1:], 2)
    each = make(*np.split(outputs, size // 2, axis=-1))
    for level, values in zip(LEVELS, found, strict=True):
        np.testing.assert_allclose(each.cdf(values).mean(0), level, rtol=1e-8)
        np.testing.assert_allclose(p.cdf(values), level, rtol=1e-8)
    np.testing.assert_allclose(p.quantile(0.77), found[3])


def test_quantiles_of_other_shapes_of_noise():
    levels = [0.02, 0.6]
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((4, 2, 6))
    mixtures = RegressionPredictive(outputs, likelihoods.MixtureNormal(2))
    weights = np.exp(outputs[..., :2])
    weights /= weights.sum(-1, keepdims=True)
    students = RegressionPredictive(
        outputs[..., :3], likelihoods.StudentT(df=None)
    )
    m, r, d = np.split(outputs[..., :3], 3, axis=-1)
    for level, values in zip(levels, mixtures.quantile(levels), strict=True):
        parts = stats.norm.cdf(
            values, outputs[..., 2:4], scale_of(outputs[..., 4:])
        )
        total = np.sum(weights * parts, axis=-1).mean(0)
        np.testing.assert_allclose(total, level, rtol=1e-8)
    for level, values in zip(levels, students.quantile(levels), strict=True):
        total = stats.t.cdf(values, 2 + scale_of(d), m, scale_of(r)).mean(0)
        np.testing.assert_allclose(total, level, rtol=1e-8)


def test_quantiles_are_not_those_of_a_fitted_gaussian():
    p = RegressionPredictive(
        np.array([-5.0, 5.0]).reshape(2, 1, 1), likelihoods.Normal(scale=0.5)
    )
    lower, upper = p.interval(0.9)
    # One twentieth of all is one tenth of the component on its side.
    np.testing.assert_allclose(lower, stats.norm.ppf(0.1, -5, 0.5), rtol=1e-9)
    np.testing.assert_allclose(upper, stats.norm.ppf(0.9, 5, 0.5), rtol=1e-9)
    gaussian = stats.norm.ppf(0.05, p.mean, p.stddev)
    assert np.all(lower > gaussian + 2)
    np.testing.assert_allclose(p.quantile([0.25, 0.75])[:, 0, 0], [-5, 5])


@pytest.mark.parametrize("center", [0.0, 1e6, -1e6])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
def test_quantiles_at_any_magnitude(center, scale):
    """Doubles of 1e6 are 1e-10 apart."""
    p = RegressionPredictive(
        np.full((3, 2, 1), center), likelihoods.Normal(scale=scale)
    )
    expected = stats.norm.ppf(LEVELS, center, scale)
    found = p.quantile(LEVELS)[:, 0, 0]
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-9 * scale + 1e-15 * abs(center)
    )


@pytest.mark.parametrize("kind", ["poisson", "negative_binomial"])
def test_quantiles_of_counts_are_the_smallest_that_reach_the_level(kind):
    if kind == "poisson":
        p = make_counts((6, 8, 1))
        each = stats.poisson(np.exp(p.outputs))
    else:
        p, each = make_negative_binomial((6, 8))
    levels = [0.001, 0.05, 0.5, 0.9, 0.999]
    table = np.stack([each.cdf(z).mean(0) for z in range(300)])
    assert table[-1].min() > 0.9999
    found = p.quantile(levels)
    for level, values in zip(levels, found, strict=True):
        np.testing.assert_array_equal(values, np.argmax(table >= level, axis=0))
    assert len(np.unique(found)) > 5


def test_quantile_of_a_count_that_is_surely_zero():
    p = RegressionPredictive(np.full((3, 2, 1), -30.0), likelihoods.Poisson())
    np.testing.assert_array_equal(p.quantile([0.01, 0.99]), 0)


@pytest.mark.parametrize("q", [0, 1, -0.1, 1.1, np.nan, [0.5, 1.0], [[0.5]]])
def test_bad_levels_raise(q):
    p = normals((6, 9, 2))
    with pytest.raises(ValueError, match="`q` must be a number between 0 and"):
        p.quantile(q)


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, np.nan])
def test_bad_levels_of_intervals_raise(level):
    p = normals((6, 9, 2))
    for method in (p.interval, lambda level: p.coverage(np.zeros(9), level)):
        with pytest.raises(ValueError, match="`level` must be between 0 and"):
            method(level=level)


def draw_targets(p, each, seed=1):
    """Targets from the mixture, with draws of their own for each row."""
    rng = np.random.default_rng(seed)
    values = each.rvs(size=p.outputs[..., :1].shape, random_state=rng)
    which = rng.integers(0, p.num_samples, len(p))
    return values[which, np.arange(len(p))]


def test_calibrated_predictions_have_uniform_pit_and_nominal_coverage():
    """Both tests have a false alarm of 1e-6, and see scales off by half."""
    p = normals((5, 4000, 2))
    scales = scale_of(p.outputs[..., 1:])
    y = draw_targets(p, stats.norm(p.outputs[..., :1], scales))
    assert stats.kstest(p.pit(y).ravel(), "uniform").pvalue > 1e-6
    inside = round(p.coverage(y, 0.8) * 4000)
    assert stats.binomtest(inside, 4000, 0.8).pvalue > 1e-6
    wider = draw_targets(p, stats.norm(p.outputs[..., :1], 2 * scales))
    assert stats.kstest(p.pit(wider).ravel(), "uniform").pvalue < 1e-6
    inside = round(p.coverage(wider, 0.8) * 4000)
    assert stats.binomtest(inside, 4000, 0.8).pvalue < 1e-6
    assert p.calibration_error(y) < 0.02 < p.calibration_error(wider)


def test_coverage_and_rmse_are_shares_and_distances():
    p = normals((6, 9, 4))
    y = np.random.default_rng(1).standard_normal((9, 2))
    lower, upper = p.interval(0.5)
    np.testing.assert_allclose(lower, p.quantile(0.25))
    np.testing.assert_allclose(upper, p.quantile(0.75))
    inside = np.mean((lower <= y) & (y <= upper))
    assert 0 < inside < 1
    assert p.coverage(y, 0.5) == inside
    assert p.rmse(y) == pytest.approx(np.sqrt(np.mean((y - p.mean) ** 2)))
    scores = p.evaluate(y)
    assert scores == {
        "nll": p.nll(y),
        "rmse": p.rmse(y),
        "crps": p.crps(y),
        "coverage_90": p.coverage(y, 0.9),
        "calibration_error": metrics.calibration_error(p.pit(y)),
    }


def test_pit_of_counts_is_inside_of_the_jump():
    p, each = make_negative_binomial((6, 8))
    y = np.arange(8)[:, None]
    pit = p.pit(y)
    assert np.all(each.cdf(y - 1).mean(0) <= pit)
    assert np.all(pit <= each.cdf(y).mean(0))
    np.testing.assert_array_equal(pit, p.pit(y))
    np.testing.assert_allclose(p.cdf(y), each.cdf(y).mean(0), rtol=1e-9)


@pytest.mark.parametrize("rate", [0.5, 5.0])
def test_pit_of_calibrated_counts_is_uniform(rate):
    """Also of small counts, whose distribution has few steps."""
    outputs = np.full((2, 5000, 1), np.log(rate))
    p = RegressionPredictive(outputs, likelihoods.Poisson())
    y = np.random.default_rng(3).poisson(rate, (5000, 1))
    assert stats.kstest(p.pit(y).ravel(), "uniform").pvalue > 1e-6
    assert p.calibration_error(y) < 0.02


@pytest.mark.parametrize("name", ["normal", "poisson"])
def test_targets_are_predicted_one_by_one(name):
    """What is not joint is as if each target had its own prediction."""
    likelihood = MOMENTS[name][0]
    size = likelihood.params_size(1)
    outputs = np.random.default_rng(0).standard_normal((6, 5, 3 * size))
    y = np.random.default_rng(1).integers(0, 4, (5, 3))
    p = RegressionPredictive(outputs, likelihood)
    singles = [
        RegressionPredictive(outputs[..., i::3], likelihood) for i in range(3)
    ]
    for i, single in enumerate(singles):
        np.testing.assert_allclose(p.mean[:, i], single.mean[:, 0])
        np.testing.assert_allclose(
            p.quantile([0.1, 0.6])[..., i], single.quantile([0.1, 0.6])[..., 0]
        )
        np.testing.assert_allclose(p.cdf(y)[:, i], single.cdf(y[:, i])[:, 0])
    scores = [single.crps(y[:, i]) for i, single in enumerate(singles)]
    assert p.crps(y) == pytest.approx(np.mean(scores), rel=1e-6)


def test_positions_are_predicted_one_by_one():
    p = normals((6, 5, 3, 4))
    y = np.random.default_rng(1).standard_normal((5, 3, 2))
    flat = RegressionPredictive(p.outputs.reshape(6, 15, 4), p.likelihood)
    rows = y.reshape(15, 2)
    np.testing.assert_allclose(p.mean.reshape(15, 2), flat.mean)
    np.testing.assert_allclose(
        p.interval(0.8), np.reshape(flat.interval(0.8), [2, 5, 3, 2])
    )
    np.testing.assert_allclose(p.log_prob(y).ravel(), flat.log_prob(rows))
    np.testing.assert_allclose(p.pit(y).reshape(15, 2), flat.pit(rows))
    expected = flat.evaluate(rows)
    assert p.evaluate(y) == pytest.approx(expected)
    assert len(p.to_dict()["mean_5"]) == 5
