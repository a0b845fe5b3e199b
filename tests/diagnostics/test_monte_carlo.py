"""Monte Carlo errors against loops that leave draws out, and repetitions."""

import numpy as np
import pytest
from scipy import special, stats

from tests.statistics import FALSE_FAIL
from tfpbnn import calibration, diagnostics, likelihoods
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive

RNG = np.random.default_rng(0)
S, N = 12, 5
KINDS = {
    "normal": (RegressionPredictive, likelihoods.Normal(), 4),
    "counts": (RegressionPredictive, likelihoods.Poisson(), 1),
    "classes": (
        ClassificationPredictive,
        likelihoods.Categorical(from_logits=True),
        3,
    ),
    "yes or no": (
        ClassificationPredictive,
        likelihoods.Bernoulli(from_logits=True),
        2,
    ),
}
QUANTITIES = {
    "mean": lambda p: p.mean,
    "variance": lambda p: p.variance,
    "entropy": lambda p: p.predictive_entropy,
    "mutual_information": lambda p: p.predictive_entropy - p.expected_entropy,
}

# Which are calibrated as mixtures, and no draw by itself.
MAPS = {
    "classes": lambda: calibration.Isotonic().fit_arrays(
        RNG.normal(size=(60, 3)), RNG.integers(0, 3, 60)
    ),
    "normal": lambda: calibration.IsotonicQuantiles().fit_arrays(
        np.repeat(RNG.normal(size=(60, 1)), 4, axis=1) / 4,
        RNG.normal(size=(60, 2)),
        likelihood=likelihoods.Normal(),
    ),
}


def made(kind, shape=(S, N)):
    cls, likelihood, size = KINDS[kind]
    return cls(RNG.normal(size=(*shape, size)), likelihood)


def targets(kind):
    return {
        "normal": RNG.normal(size=(N, 2)),
        "counts": RNG.integers(0, 4, (N, 1)),
        "classes": RNG.integers(0, 3, N),
        "yes or no": RNG.integers(0, 2, (N, 2)),
    }[kind]


def jackknife(p, function):
    values = [
        function(type(p)(np.delete(p.outputs, s, 0), p.likelihood, mask=p.mask))
        for s in range(p.num_samples)
    ]
    return np.sqrt((p.num_samples - 1) * np.var(values, axis=0))


def assert_jackknife(p, y, names):
    for name in names:
        found = diagnostics.monte_carlo_error(p, name)
        expected = jackknife(p, QUANTITIES[name])
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
    found = diagnostics.monte_carlo_error(p, "nll", y)
    expected = jackknife(p, lambda p: p.nll(y))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_each_draw_out(kind):
    p, y = made(kind), targets(kind)
    is_labels = p.likelihood.is_classification
    assert_jackknife(p, y, QUANTITIES if is_labels else ("mean", "variance"))


@pytest.mark.parametrize("kind", MAPS)
def test_calibrated_mixtures(kind):
    plain, y = made(kind, (3, 1)), targets(kind)[:1]
    p = type(plain)(plain.outputs, plain.likelihood.recalibrated(MAPS[kind]()))
    assert_jackknife(p, y, QUANTITIES if kind == "classes" else ("mean",))
    found, raw = (
        diagnostics.monte_carlo_error(q, "nll", y) for q in (p, plain)
    )
    assert found != raw


def test_the_error_of_a_mean_is_the_usual_one():
    p = made("normal")
    np.testing.assert_allclose(
        diagnostics.monte_carlo_error(p),
        p.outputs[..., :2].std(axis=0, ddof=1) / np.sqrt(S),
    )


@pytest.mark.parametrize("kind", ["normal", "classes"])
def test_repetitions_differ_as_much(kind):
    """The squared errors average to the variance over repetitions.

    By an F-like ratio with 200 repetitions: the chi2 interval of the variance
    is widened by 20 % for the errors' own noise and the jackknife's bias.
    """
    count, low, high = (
        200,
        *stats.chi2.ppf([FALSE_FAIL / 6, 1 - FALSE_FAIL / 6], 199),
    )
    y = np.zeros(1, int) if kind == "classes" else np.zeros((1, 2))
    repeated = [made(kind, (200, 1)) for _ in range(count)]
    functions = {"mean": lambda p: p.mean.ravel()[0], "nll": lambda p: p.nll(y)}
    if kind == "classes":
        functions["entropy"] = lambda p: p.predictive_entropy[0]
    for name, function in functions.items():
        values = [function(p) for p in repeated]
        found = [
            np.ravel(diagnostics.monte_carlo_error(p, name, y))[0]
            for p in repeated
        ]
        ratio = 199 * np.var(values, ddof=1) / np.mean(np.square(found))
        assert low / 1.2 < ratio < high * 1.2, name


def test_draws_needed():
    p = made("normal")
    error = diagnostics.monte_carlo_error(p)
    largest = np.quantile(error, 0.95)
    assert diagnostics.draws_needed(p, error=largest) == S
    assert diagnostics.draws_needed(p, error=largest / 3) == 9 * S
    assert diagnostics.draws_needed(p, error=100.0) == 2
    everywhere = diagnostics.draws_needed(p, error=0.1, share=1.0)
    assert everywhere == np.ceil(S * (error.max() / 0.1) ** 2)
    y = targets("normal")
    one = float(diagnostics.monte_carlo_error(p, "nll", y))
    assert diagnostics.draws_needed(p, "nll", one / 2, y=y) == 4 * S


def test_logarithms_far_apart():
    """One draw has all the weight; without it the others count."""
    logs = np.array([0.0, -800.0, -801.0])[:, np.newaxis]
    found = diagnostics.monte_carlo._left_out_of_logs(logs)
    expected = [
        special.logsumexp(np.delete(logs, s)) - np.log(2) for s in range(3)
    ]
    np.testing.assert_allclose(found[:, 0], expected)


def test_masked_places():
    mask = np.arange(3 * N).reshape(N, 3) % 4 > 0
    likelihood = likelihoods.Categorical(from_logits=True)
    outputs = RNG.normal(size=(S, N, 3, 4))
    p = ClassificationPredictive(outputs, likelihood, mask=mask)
    y = np.where(mask, RNG.integers(0, 4, (N, 3)), 0)
    for name in ("mean", "entropy"):
        found = diagnostics.monte_carlo_error(p, name)
        np.testing.assert_array_equal(np.isnan(found[~mask]), True)
        assert np.isfinite(found[mask]).all()
    found = diagnostics.monte_carlo_error(p, "nll", y)
    np.testing.assert_allclose(found, jackknife(p, lambda p: p.nll(y)))
    assert diagnostics.draws_needed(p, "entropy") >= 2


def test_bad_input():
    p = made("normal")
    kept = p.without_draws(S, p.summaries, p.likelihood, "coherent")
    one = RegressionPredictive(p.outputs[:1], p.likelihood, "mean")
    with pytest.raises(TypeError, match="prediction of one output"):
        diagnostics.draws_needed({"a": p, "b": p})
    for match, call in {
        "`quantity` must be": lambda: diagnostics.monte_carlo_error(
            p, "entropy"
        ),
        "draws were not kept": lambda: diagnostics.monte_carlo_error(kept),
        "2 draws or more": lambda: diagnostics.monte_carlo_error(one),
        "`y` must be the targets": lambda: diagnostics.draws_needed(p, "nll"),
        "`error` must be": lambda: diagnostics.draws_needed(p, error=0.0),
    }.items():
        with pytest.raises(ValueError, match=match):
            call()
