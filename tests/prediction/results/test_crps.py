"""The continuous ranked probability score against closed forms and sums."""

import numpy as np
import pytest
from scipy import integrate, stats

from tests.prediction.results.test_base import normals, scale_of
from tests.prediction.results.test_regression import (
    make_counts,
    make_negative_binomial,
)
from tfpbnn import likelihoods
from tfpbnn.prediction.results import RegressionPredictive, location_scale


def normal_mixture_crps(y, means, scales, weights=None):
    """Grimit, Gneiting, Berrocal and Johnson, 2006, equation (5)."""
    if weights is None:
        weights = np.full(len(means), 1 / len(means))

    def spread(mean, scale):
        z = mean / scale
        pdf, cdf = stats.norm.pdf(z), stats.norm.cdf(z)
        return 2 * scale * pdf + mean * (2 * cdf - 1)

    score = 0.0
    for w, m, s in zip(weights, means, scales, strict=True):
        score += w * spread(y - m, s)
        for v, n, t in zip(weights, means, scales, strict=True):
            score -= 0.5 * w * v * spread(m - n, np.hypot(s, t))
    return score


def each_row(p, y):
    return np.array([p[i].crps(y[i : i + 1]) for i in range(len(p))])


def test_closed_form_of_one_normal():
    """Gneiting and Raftery, 2007, equation (21); to the 1e-6 left out."""
    y = np.array([-8.0, -1.0, 0.0, 0.5, 30.0])
    p = RegressionPredictive(np.zeros((1, 5, 1)), likelihoods.Normal(scale=2.0))
    z = y / 2
    expected = 2 * (
        z * (2 * stats.norm.cdf(z) - 1)
        + 2 * stats.norm.pdf(z)
        - 1 / np.sqrt(np.pi)
    )
    np.testing.assert_allclose(each_row(p, y), expected, rtol=1e-6)
    assert p.crps(y) == pytest.approx(expected.mean(), rel=1e-6)


@pytest.mark.parametrize("num_draws", [2, 10])
def test_closed_form_of_normal_mixtures(num_draws):
    """Smooth where scales are of the size of the spread: 1e-4 holds."""
    p = normals((num_draws, 6, 2))
    y = np.array([-20.0, -1.0, 0.0, 0.3, 2.0, 50.0])
    expected = [
        normal_mixture_crps(y[i], p.outputs[:, i, 0], scales)
        for i, scales in enumerate(scale_of(p.outputs[..., 1]).T)
    ]
    np.testing.assert_allclose(each_row(p, y), expected, rtol=1e-4)


@pytest.mark.parametrize("num_draws", [3, 20])
def test_draws_much_further_apart_than_their_noise(num_draws):
    """F is a staircase there, and each stair can be off by a node's cell.

    Single rows err by up to 0.05 of the draws' spread; the errors have both
    signs, so that the mean over 20 rows is within 0.01.
    """
    p = normals((num_draws, 20, 1), scale=1e-3)
    y = np.random.default_rng(1).standard_normal(20)
    scales = np.full(num_draws, 1e-3)
    expected = [
        normal_mixture_crps(y[i], p.outputs[:, i, 0], scales) for i in range(20)
    ]
    assert p.crps(y) == pytest.approx(np.mean(expected), abs=0.01)
    few, y = p[:5], y[:5]
    found = each_row(few, y)
    np.testing.assert_allclose(found, expected[:5], rtol=0, atol=0.05)
    # Which end of a stair is the quantile hangs on rounding.
    assert few.crps(y) == pytest.approx(found.mean(), rel=1e-4)


def test_mixtures_of_each_draw():
    outputs = np.random.default_rng(0).standard_normal((3, 4, 6))
    p = RegressionPredictive(outputs, likelihoods.MixtureNormal(2))
    y = np.array([-1.0, 0.0, 0.4, 3.0])
    weights = np.exp(outputs[..., :2])
    weights /= 3 * weights.sum(-1, keepdims=True)
    expected = [
        normal_mixture_crps(
            y[i],
            outputs[:, i, 2:4].ravel(),
            scale_of(outputs[:, i, 4:]).ravel(),
            weights[:, i].ravel(),
        )
        for i in range(4)
    ]
    np.testing.assert_allclose(each_row(p, y), expected, rtol=1e-3)


def test_closed_form_of_a_laplace():
    """Its density has a corner that a few nodes round off: 1e-5."""
    y = np.array([-3.0, 0.0, 1.3])
    p = RegressionPredictive(
        np.zeros((1, 3, 1)), likelihoods.Laplace(scale=1.0)
    )
    expected = np.abs(y) + np.exp(-np.abs(y)) - 0.75
    np.testing.assert_allclose(each_row(p, y), expected, atol=1e-5)


def test_heavy_tails_against_numeric_integration():
    """1e-5: a tail of 1e-6 is left out, whose square hardly counts."""
    means = np.array([0.0, 1.5])
    p = RegressionPredictive(
        means.reshape(2, 1, 1), likelihoods.StudentT(df=4.0, scale=0.8)
    )

    def cdf(z):
        return np.mean(stats.t.cdf(z, 4, means, 0.8))

    below, _ = integrate.quad(lambda z: cdf(z) ** 2, -np.inf, 2.5, limit=200)
    above, _ = integrate.quad(
        lambda z: (1 - cdf(z)) ** 2, 2.5, np.inf, limit=200
    )
    assert p.crps([2.5]) == pytest.approx(below + above, rel=1e-5)


def count_crps(cdf, y, top):
    z = np.arange(top + 1)
    return np.sum((cdf(z) - (z >= y)) ** 2)


@pytest.mark.parametrize("kind", ["poisson", "negative_binomial"])
def test_counts_against_sums(kind):
    if kind == "poisson":
        p = make_counts((6, 5, 1))
        each = stats.poisson(np.exp(p.outputs[..., None]))
    else:
        p, _ = make_negative_binomial((6, 5))
        mean = np.exp(p.outputs[..., :1, None])
        r = scale_of(p.outputs[..., 1:, None])
        each = stats.nbinom(r, r / (r + mean))
    y = np.array([0, 1, 4, 9, 200])
    table = each.cdf(np.arange(2000)).mean(0)[:, 0]
    expected = [
        count_crps(lambda z, i=i: table[i, z], y[i], 1999) for i in range(5)
    ]
    np.testing.assert_allclose(each_row(p, y), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("rates", "y"),
    [
        ([5e4], 49_900),
        ([5e4], 60_000),
        ([1.0, 3000.0], 950),
        ([900.0, 1100.0], 1050),
    ],
)
def test_large_counts_are_not_summed_one_by_one(rates, y):
    """As an integral above 1000, to 1e-3: two Poissons are a staircase."""
    rates = np.array(rates)[:, None]
    p = RegressionPredictive(np.log(rates)[..., None], likelihoods.Poisson())
    expected = count_crps(
        lambda z: stats.poisson.cdf(z, rates).mean(0), y, 70_000
    )
    assert p.crps([y]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("center", [0.0, 1e6])
def test_a_point_prediction_scores_the_absolute_error(center):
    y = center + np.array([-2.0, 0.0, 1e-3, 5.0])
    p = RegressionPredictive(
        np.full((3, 4, 1), center), likelihoods.Normal(scale=1e-6)
    )
    np.testing.assert_allclose(each_row(p, y), np.abs(y - center), atol=2e-6)


def test_the_truth_scores_best():
    """Proper: on average nothing beats the distribution of the targets."""
    y = np.random.default_rng(0).standard_normal(2000)

    def score(center, scale):
        outputs = np.full((1, 2000, 1), center)
        return RegressionPredictive(
            outputs, likelihoods.Normal(scale=scale)
        ).crps(y)

    truth = score(y.mean(), y.std())
    assert truth < score(y.mean() + 0.3, y.std())
    assert truth < score(y.mean(), 0.5 * y.std())
    assert truth < score(y.mean(), 2.0 * y.std())


STANDARD = {
    "normal": (likelihoods.Normal(), 2),
    "adapted": (likelihoods.Normal().adapt([30.0, 60.0]), 2),
    "known_scale": (likelihoods.Normal(scale=0.4), 1),
    "laplace": (likelihoods.Laplace(), 2),
    "student_t": (likelihoods.StudentT(), 2),
    "student_t_heavy": (likelihoods.StudentT(df=2.5), 2),
    "student_t_fraction": (likelihoods.StudentT(df=7.3), 2),
    "mixture": (likelihoods.MixtureNormal(2), 6),
}


@pytest.mark.parametrize("name", STANDARD)
def test_many_draws_and_rows_as_few(name, monkeypatch):
    """The compiled way, in float32, beside a slow one in float64."""
    likelihood, size = STANDARD[name]
    rng = np.random.default_rng(0)
    outputs = 0.5 * rng.standard_normal((20, 53, size))
    outputs += rng.standard_normal((1, 53, size))
    p = RegressionPredictive(outputs, likelihood)
    y = p.sample(1, seed=0)[0]
    # Programs are compiled for a number of levels: two, as of an interval.
    levels = [0.4, 0.7]
    expected = [p.crps(y), p.interval(0.9), p.quantile(levels)]
    monkeypatch.setattr(location_scale, "LARGE", 0)
    monkeypatch.setattr(location_scale, "CHUNK", 20 * size * 11)
    q = RegressionPredictive(outputs, likelihood)
    width = p.stddev.max()
    assert q.crps(y) == pytest.approx(expected[0], abs=2e-5 * width)
    for found, value in zip(
        [q.interval(0.9), q.quantile(levels)], expected[1:], strict=True
    ):
        np.testing.assert_allclose(found, value, atol=1e-8 * width)


@pytest.mark.parametrize("name", STANDARD)
def test_standard_distributions(name):
    likelihood, _ = STANDARD[name]
    standard, u = likelihood.standard, np.linspace(-8, 8, 41)
    if name.startswith("student"):
        exact = stats.t(likelihood.df)
    else:
        exact = {"laplace": stats.laplace}.get(name, stats.norm)
    np.testing.assert_allclose(standard.centered(u), exact.cdf(u) - 0.5)
    np.testing.assert_allclose(
        standard.quick(u), exact.cdf(u) - 0.5, atol=1e-11
    )
    np.testing.assert_allclose(standard.pdf(u), exact.pdf(u))
    # The Laplace distribution's density has a corner at 0.
    v, h = u[u != 0], 1e-5
    slope = (exact.pdf(v + h) - exact.pdf(v - h)) / (2 * h)
    np.testing.assert_allclose(standard.slope(v), slope, atol=1e-9)
    distance = [
        exact.expect(lambda x, v=v: abs(x - v), limit=200) for v in u[::8]
    ]
    np.testing.assert_allclose(standard.distance(u[::8]), distance, rtol=1e-5)


@pytest.mark.parametrize("name", ["normal", "laplace", "student_t"])
def test_hardly_a_row_is_searched_again(name, monkeypatch):
    """Rows that are found stay, while Newton's steps go on for others."""
    likelihood, size = STANDARD[name]
    rng = np.random.default_rng(1)
    outputs = rng.standard_normal((1, 400, size))
    outputs = outputs + 0.3 * rng.standard_normal((100, 400, size))
    p, searched = RegressionPredictive(outputs, likelihood), []
    search = RegressionPredictive._search_quantiles

    def count(p, levels):
        searched.append(len(p))
        return search(p, levels)

    monkeypatch.setattr(location_scale, "LARGE", 0)
    monkeypatch.setattr(RegressionPredictive, "_search_quantiles", count)
    low, high = p.interval(0.9)
    assert sum(searched) <= 2
    np.testing.assert_allclose(p.cdf(low), 0.05, atol=1e-7)
    np.testing.assert_allclose(p.cdf(high), 0.95, atol=1e-7)


@pytest.mark.parametrize("spread", [0.03, 0.3, 3.0])
@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_quantiles_of_draws_near_and_far(name, spread, monkeypatch):
    """Whatever way the steps go: the levels at the quantiles are right."""
    likelihood, size = STANDARD[name]
    rng = np.random.default_rng(2)
    outputs = rng.standard_normal((1, 250, size))
    outputs = outputs + spread * rng.standard_normal((30, 250, size))
    monkeypatch.setattr(location_scale, "LARGE", 0)
    p = RegressionPredictive(outputs, likelihood)
    for level, q in zip([0.05, 0.95], p.interval(0.9), strict=True):
        np.testing.assert_allclose(p.cdf(q), level, atol=3e-8)


def test_likelihoods_that_change_have_programs_of_their_own(monkeypatch):
    """A compiled program has the units of targets in it."""
    outputs = np.random.default_rng(3).standard_normal((20, 9, 2))
    monkeypatch.setattr(location_scale, "LARGE", 0)
    likelihood = likelihoods.Normal()
    before = RegressionPredictive(outputs, likelihood).crps(np.zeros(9))
    likelihood.adapt([30.0, 60.0])
    after = RegressionPredictive(outputs, likelihood).crps(np.full(9, 45.0))
    assert after == pytest.approx(15 * before, rel=1e-4)


@pytest.mark.parametrize("df", [2.01, 3.0, 4.5, 30.0, 100.0])
def test_tails_of_student_t_to_their_own_precision(df):
    standard = likelihoods.StudentT(df=df).standard
    u = -np.array([0.0, 1e-3, 0.1, 1.0, 10.0, 1e3])
    found = standard.centered(u) + 0.5
    np.testing.assert_allclose(found, stats.t.cdf(u, df), atol=1e-14)
    single = standard.centered(u.astype(np.float32)) + 0.5
    np.testing.assert_allclose(single, stats.t.cdf(u, df), atol=3e-7)


def test_a_plateau_between_far_modes_is_searched(monkeypatch):
    """Newton's steps can't tell where it begins: the search does."""
    outputs = np.repeat(np.array([[0.0], [0.0], [50.0], [50.0]]), 7, 1)
    outputs = outputs[..., None]
    likelihood = likelihoods.Normal(scale=0.1)
    expected = RegressionPredictive(outputs, likelihood).quantile([0.5, 0.3])
    monkeypatch.setattr(location_scale, "LARGE", 0)
    found = RegressionPredictive(outputs, likelihood).quantile([0.5, 0.3])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    assert np.all((found[0] >= expected[0] - 1e-6) & (found[0] < 49.9))


def test_quantiles_are_kept_but_not_shared():
    p = normals((5, 4, 2))
    low, _ = p.interval(0.9)
    kept = low.copy()
    low += 1.0
    np.testing.assert_array_equal(p.interval(0.9)[0], kept)
