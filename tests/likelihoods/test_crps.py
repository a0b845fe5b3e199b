"""Closed forms of the CRPS against the integral of its definition."""

import numpy as np
import pytest
from scipy import integrate

from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import RegressionPredictive

CLOSED = {
    "normal": likelihoods.Normal(),
    "known_scale": likelihoods.Normal(scale=[0.5, 2.0]),
    "laplace": likelihoods.Laplace(),
    "student_t": likelihoods.StudentT(df=4.0),
    "few_df": likelihoods.StudentT(df=1.5),
    "free_df": likelihoods.StudentT(df=None),
    "mixture": likelihoods.MixtureNormal(3),
    "poisson": likelihoods.Poisson(),
}


def case(name, count=3):
    """Targets `[n, 2]` near their outputs `[n, P]`."""
    rng = np.random.default_rng(0)
    likelihood = CLOSED[name]
    outputs = rng.normal(size=(count, likelihood.params_size(2)))
    if likelihood.is_discrete:
        return rng.poisson(2.0, (count, 2)).astype(float), outputs
    return 2 * rng.normal(size=(count, 2)), outputs


def integral(cdf, y):
    left, _ = integrate.quad(lambda z: cdf(z) ** 2, -np.inf, y, limit=200)
    right, _ = integrate.quad(lambda z: (1 - cdf(z)) ** 2, y, np.inf, limit=200)
    return left + right


@pytest.mark.parametrize("name", ["laplace", "few_df", "free_df", "mixture"])
def test_is_the_integral(name):
    y, outputs = case(name, 1)
    marginals = CLOSED[name].marginals(outputs)

    def cdf(z):
        return float(marginals.cdf(np.full((1, 2), z))[0, 0])

    found = CLOSED[name].crps(y, outputs).numpy()[0, 0]
    assert found == pytest.approx(integral(cdf, y[0, 0]), rel=1e-4)


def test_is_the_sum_for_counts():
    y, outputs = case("poisson")
    marginals = likelihoods.Poisson().marginals(outputs)
    grid = np.arange(200.0)
    cdf = np.array([marginals.cdf(np.full(y.shape, z)) for z in grid])
    reached = grid[:, None, None] >= y
    expected = np.sum((cdf - reached) ** 2, axis=0)
    found = likelihoods.Poisson().crps(y, outputs).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["normal", "known_scale", "student_t"])
@pytest.mark.parametrize("is_adapted", [False, True])
def test_is_that_of_a_prediction_of_one_draw(name, is_adapted):
    y, outputs = case(name, 20)
    likelihood = CLOSED[name]
    if is_adapted:
        likelihood = likelihood.rescale([3.0, 0.5], [10.0, -1.0])
        y = y * [3.0, 0.5] + [10.0, -1.0]
    p = RegressionPredictive(outputs[np.newaxis], likelihood)
    found = likelihood.crps(y, outputs).numpy()
    assert metrics.crps(y, p) == pytest.approx(found.mean(), rel=1e-4)


@pytest.mark.parametrize(
    "likelihood",
    [likelihoods.NegativeBinomial(), likelihoods.StudentT(df=1.0)],
    ids=["negative_binomial", "cauchy"],
)
def test_what_has_no_closed_form_says_so(likelihood):
    with pytest.raises(ValueError, match="must have a closed form of the CRPS"):
        likelihood.crps(np.ones((3, 1)), np.ones((3, likelihood.params_size())))
