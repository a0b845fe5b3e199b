"""Calibrators of numbers: the noise's scale, and the quantiles."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from tests.calibration import made
from tfpbnn import calibration, likelihoods


def mixture_nll(factor, outputs, y):
    loc, scale = outputs[..., :1], 1.0
    density = stats.norm.pdf(y, loc, factor * scale).mean(axis=0)
    return -np.log(density).mean()


@pytest.mark.parametrize("draws", [1, 5])
def test_scale_is_the_minimum_of_the_mixture(draws):
    outputs, y = made.numbers(300, noise=2.0, draws=draws)
    best = optimize.minimize_scalar(
        mixture_nll, (1.0, 3.0), args=(outputs, y), tol=1e-12
    )
    found = calibration.Scale().fit_arrays(outputs, y)
    np.testing.assert_allclose(found.factors, [best.x], rtol=1e-5)
    raw = made.normal(outputs)
    after = found.transform(raw)
    assert after.nll(y) == pytest.approx(best.fun, rel=1e-6)
    np.testing.assert_allclose(after.mean, raw.mean)
    np.testing.assert_allclose(after.epistemic_variance, raw.epistemic_variance)
    np.testing.assert_allclose(
        after.aleatoric_variance, best.x**2 * raw.aleatoric_variance, 1e-5
    )


# A likelihood whose noise is too small by a known factor, of two targets.
LIKELIHOODS = {
    "normal": likelihoods.Normal(),
    "fixed": likelihoods.Normal(scale=0.5),
    "laplace": likelihoods.Laplace(),
    "student": likelihoods.StudentT(df=5.0),
    "mixture": likelihoods.MixtureNormal(2),
    "adapted": likelihoods.Normal().adapt(np.array([[3.0, 70.0], [5.0, 20.0]])),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_scale_of_every_likelihood(name):
    """A factor is found within 6 standard errors: false alarms below 1e-7."""
    likelihood = LIKELIHOODS[name]
    rng = np.random.default_rng(0)
    size = likelihood.params_size(2)
    outputs = 0.3 * rng.standard_normal((1, 1500, size))
    raw = made.normal(outputs, likelihood)
    y = raw.sample(1, seed=0)[0]
    if name == "mixture":  # whose factor moves no component
        factors = np.ones(2)
    else:
        factors = np.array([2.0, 0.5])
        median = raw.quantile(0.5)
        y = median + factors * (y - median)
    found = calibration.Scale().fit(raw, y)
    np.testing.assert_allclose(found.factors, factors, rtol=6 / np.sqrt(1500))
    after = found.transform(raw)
    assert after.nll(y) <= raw.nll(y) + 1e-9
    assert abs(after.coverage(y, 0.8) - 0.8) < 6 * np.sqrt(0.16 / 3000)


@pytest.fixture(scope="module")
def mapped():
    """Noise that is said to be 1 and is 1.7, of draws that differ."""
    outputs, y = made.numbers(500, noise=1.7, draws=2)
    new, new_y = made.numbers(300, noise=1.7, draws=2, seed=1)
    raw = made.normal(new)
    found = calibration.IsotonicQuantiles().fit(made.normal(outputs), y)
    return raw, found.transform(raw), new_y


def test_quantiles_are_calibrated(mapped):
    raw, p, y = mapped
    before, after = raw.evaluate(y), p.evaluate(y)
    assert abs(after["coverage_90"] - 0.9) < 6 * np.sqrt(0.09 / 300)
    assert after["nll"] < before["nll"] - 0.1
    assert after["crps"] < before["crps"]
    assert after["calibration_error"] < before["calibration_error"] / 2


def test_quantiles_invert_the_cdf(mapped):
    _, p, _ = mapped
    few = p[:20]
    for level in (0.001, 0.05, 0.5, 0.9, 0.999):
        np.testing.assert_allclose(few.cdf(few.quantile(level)), level, 1e-6)
    levels = np.linspace(0.01, 0.99, 9)
    assert np.all(np.diff(few.quantile(levels), axis=0) > 0)


def test_moments_and_density_are_those_of_the_cdf(mapped):
    _, p, _ = mapped
    grid = np.linspace(-12, 12, 8001)
    for row in range(2):
        one = p[[row] * len(grid)]
        density = np.exp(one.log_prob(grid))
        mean = integrate.trapezoid(grid * density, grid)
        square = integrate.trapezoid((grid - mean) ** 2 * density, grid)
        assert integrate.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
        assert p.mean[row, 0] == pytest.approx(mean, abs=5e-3)
        assert p.variance[row, 0] == pytest.approx(square, rel=5e-3)
        cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
        np.testing.assert_allclose(one.cdf(grid)[:, 0], cdf, atol=1e-3)
    np.testing.assert_allclose(
        p.variance, p.epistemic_variance + p.aleatoric_variance
    )


def test_the_epistemic_share_stays(mapped):
    raw, p, _ = mapped
    shares = [q.epistemic_variance / q.variance for q in (raw, p)]
    np.testing.assert_allclose(*shares)
    for ask in (lambda: p.draw_means, lambda: p[:2].draw_means):
        with pytest.raises(ValueError, match="calibrated one by one"):
            ask()


def test_samples_have_the_distribution(mapped):
    """By Kolmogorov and Smirnov, at a rate of false alarms of 1e-6."""
    _, p, _ = mapped
    few = p[:3]
    samples = few.sample(3000, seed=0)[..., 0]
    for row in range(3):
        one = few[[row] * 3000]
        test = stats.kstest(one.cdf(samples[:, row])[:, 0], "uniform")
        assert test.pvalue > 1e-6


def test_the_map_is_the_share_below():
    """With a knot at each target it is the empirical function of Kuleshov."""
    outputs, y = made.numbers(200, noise=1.5)
    raw = made.normal(outputs)
    found = calibration.IsotonicQuantiles(num_parts=None).fit(raw, y)
    after = found.transform(raw)
    ranks = stats.rankdata(raw.cdf(y))
    np.testing.assert_allclose(after.cdf(y)[:, 0], ranks / 201, atol=1e-6)


def test_targets_stay_dependent():
    """Of two targets whose draws go together."""
    rng = np.random.default_rng(0)
    loc = np.broadcast_to(rng.standard_normal((4, 1, 1)), (4, 200, 2))
    outputs = np.concatenate([loc, np.full_like(loc, made.ONE)], -1)
    raw = made.normal(outputs)
    y = raw.sample(1, 0)[0] * [1.5, 0.7]
    found = calibration.IsotonicQuantiles(num_parts=3).fit(raw, y)
    p = found.transform(raw)
    grid = np.linspace(-8, 8, 101)
    places = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    density = np.exp(p[[0] * len(places)].log_prob(places))
    share = density.sum() * (grid[1] - grid[0]) ** 2
    assert share == pytest.approx(1, abs=0.02)
    before, after = (
        np.corrcoef(stats.rankdata(a[:, 0, 0]), stats.rankdata(a[:, 0, 1]))
        for a in (raw[:1].sample(500, 1), p[:1].sample(500, 1))
    )
    np.testing.assert_allclose(before, after)


def test_weights_and_masks():
    outputs, y = made.numbers(300, noise=2.0)
    counts = np.random.default_rng(0).integers(0, 2, 300)
    bad = np.where(counts[:, None] > 0, y, np.nan)
    kept = counts > 0
    raw = made.normal(outputs)
    for make in (calibration.Scale, calibration.IsotonicQuantiles):
        name = "numbers" if make is calibration.Scale else "knots"
        expected = make().fit(raw[kept], y[kept]).fitted[name]
        weighted = make().fit(raw, bad, counts).fitted[name]
        masked = make().fit(made.normal(outputs, mask=kept), bad).fitted[name]
        np.testing.assert_allclose(weighted, expected, rtol=1e-6)
        np.testing.assert_allclose(masked, expected, rtol=1e-6)


def test_far_targets_are_taken():
    """Beyond what a float can tell from 0 and 1."""
    outputs, y = made.numbers(100)
    y[0], y[1] = 60.0, -60.0
    raw = made.normal(outputs)
    p = calibration.IsotonicQuantiles().fit(raw, y).transform(raw)
    assert np.all(np.isfinite(p.mean))
    low, high = p.interval(0.5)
    assert np.all((low < high) & (high - low < 10))


def poisson():
    return made.normal(np.zeros((1, 30, 1)), likelihoods.Poisson())


BAD = {
    "scale of counts": (
        lambda: calibration.Scale().fit(poisson(), np.zeros(30)),
        "with a location and a scale",
    ),
    "quantiles of counts": (
        lambda: calibration.IsotonicQuantiles().fit(poisson(), np.zeros(30)),
        "continuous targets",
    ),
    "labels": (
        lambda: calibration.Scale().fit(
            made.labels(np.zeros((1, 5, 3))), np.zeros(5)
        ),
        "predictions of numbers",
    ),
    "too few": (
        lambda: calibration.IsotonicQuantiles().fit_arrays(*made.numbers(19)),
        "20 targets or more",
    ),
    "targets are hit": (
        lambda: calibration.Scale().fit_arrays(*made.numbers(30, noise=0.0)),
        "neither 0 nor infinite|did not find",
    ),
    "draws are wide": (
        lambda: calibration.Scale().fit_arrays(
            made.numbers(30, draws=1)[0]
            + 5 * np.array([-1.0, 0, 1])[:, None, None] * [1, 0],
            made.numbers(30)[0][0, :, :1],
        ),
        "neither 0 nor infinite|did not find",
    ),
    "beyond": (
        lambda: calibration.IsotonicQuantiles().fit_arrays(
            *made.numbers(100, noise=30.0)
        ),
        "distributions reach",
    ),
    "parts": (
        lambda: calibration.IsotonicQuantiles(0),
        "`num_parts` must be",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call()
