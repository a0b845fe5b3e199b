"""The posterior equals the exact one, and that of another program."""

import json
import pathlib

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfpbnn
from tests.data import laplace_values
from tfpbnn import likelihoods
from tfpbnn.posteriors.laplace import fitting

L = keras.layers
SCALE, PRECISION = 0.3, 2.0
DATA = pathlib.Path(tfpbnn.__file__).parents[1] / "tests" / "data"


@pytest.fixture(scope="module")
def linear():
    """A linear model at the exact posterior mean, and the exact answers."""
    rng = np.random.default_rng(0)
    # Columns are orthogonal, so that a diagonal holds the exact posterior.
    x = np.linalg.qr(rng.normal(size=(40, 4)))[0] * 3
    x -= 0
    y = x @ [1, 2, -1, 0.5] + SCALE * rng.normal(size=40)
    precision = x.T @ x / SCALE**2 + PRECISION * np.eye(4)
    mean = np.linalg.solve(precision, x.T @ y / SCALE**2)
    model = keras.Sequential([keras.Input((4,)), L.Dense(1, use_bias=False)])
    model.compile("sgd", likelihoods.Normal(SCALE))
    model.set_weights([mean[:, np.newaxis]])
    covariance = SCALE**2 * np.eye(40) + x @ x.T / PRECISION
    evidence = scipy.stats.multivariate_normal(np.zeros(40), covariance)
    data = x.astype("float32"), y.astype("float32")
    return model, data, np.linalg.inv(precision), evidence.logpdf(y)


@pytest.mark.parametrize("structure", ["diag", "kron", "full"])
def test_linear_models_are_exact(linear, structure):
    model, (x, y), covariance, evidence = linear
    posterior = tfpbnn.laplace(
        model, x, y, structure=structure, prior_precision=PRECISION
    )
    assert np.isclose(posterior.log_marginal_likelihood(), evidence, rtol=1e-4)
    (variances,) = posterior.variances()
    np.testing.assert_allclose(variances[:, 0], np.diag(covariance), rtol=1e-4)
    mean, found = posterior.output_moments(x)
    expected = np.einsum("ni,ij,nj->n", x, covariance, x)
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(mean, model.predict(x, verbose=0), rtol=1e-5)


def test_the_tuned_precision_is_that_of_the_largest_evidence(linear):
    model, (x, y), _, _ = linear
    posterior = tfpbnn.laplace(model, x, y)
    best = posterior.log_marginal_likelihood()
    for precision in posterior.prior_precision * np.array([0.9, 1.1]):
        assert posterior.log_marginal_likelihood(precision) < best
        # As a new fit has it.
        other = tfpbnn.laplace(model, x, y, prior_precision=precision)
        assert np.isclose(
            other.log_marginal_likelihood(),
            posterior.log_marginal_likelihood(precision),
        )


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("structure", ["diag", "kron", "full"])
def test_agrees_with_laplace_torch(kind, structure):
    weights, x, y = laplace_values.values(kind)
    expected = json.loads((DATA / "laplace.json").read_text())[kind][structure]
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(6, activation="tanh"),
            L.Dense(len(weights[3])),
        ]
    )
    model.set_weights(weights)
    is_labels = kind == "classification"
    model.compile(
        "sgd",
        likelihoods.Categorical() if is_labels else likelihoods.Normal(0.5),
    )
    posterior = tfpbnn.laplace(
        model, x, y, "all", structure, prior_precision=2.0
    )
    mean, covariance = posterior.output_moments(x[:3])
    np.testing.assert_allclose(mean, expected["mean"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        covariance, expected["covariance"], rtol=1e-3, atol=1e-4
    )
    assert np.isclose(
        posterior.log_marginal_likelihood(),
        expected["log_marginal_likelihood"],
        rtol=1e-4,
    )


@pytest.fixture(scope="module")
def several():
    """A model of two outputs, its data, and its posterior."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    h = L.Dense(5, activation="tanh")(inputs)
    outputs = {"a": L.Dense(2, name="a")(h), "b": L.Dense(3, name="b")(h)}
    model = keras.Model(inputs, outputs)
    losses = {"a": likelihoods.Normal(), "b": likelihoods.Categorical()}
    model.compile("sgd", losses)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 4)).astype("float32")
    y = {"a": rng.normal(size=20), "b": rng.integers(0, 3, 20)}
    return model, x, y, tfpbnn.laplace(model, x, y, "all", "full")


def test_draws_have_the_moments_of_the_outputs(several):
    _, x, _, posterior = several
    found = tfpbnn.predict(posterior, x, 1000, seed=0, verbose=0)
    draws = np.concatenate([found["a"].outputs, found["b"].outputs], -1)
    mean, covariance = posterior.output_moments(x)
    stddev = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    # 100 means and variances of 1,000 draws, at 6 standard deviations: 4e-7.
    assert np.max(np.abs(draws.mean(0) - mean) / stddev) < 6 / 1000**0.5
    ratio = draws.var(0) / stddev**2
    assert np.max(np.abs(ratio - 1)) < 6 * np.sqrt(2 / 1000)


def test_datasets_equal_arrays(several):
    model, x, y, posterior = several
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
    other = tfpbnn.laplace(model, dataset, subset="all", structure="full")
    np.testing.assert_allclose(
        other.eigenvalues, posterior.eigenvalues, rtol=1e-3, atol=1e-4
    )
    assert np.isclose(other.log_likelihood, posterior.log_likelihood)


def test_saved_posteriors_predict_the_same(several, tmp_path):
    _, x, _, posterior = several
    posterior.save(tmp_path / "posterior.keras")
    loaded = keras.saving.load_model(tmp_path / "posterior.keras")
    assert loaded.prior_precision == posterior.prior_precision
    evidences = [p.log_marginal_likelihood() for p in (loaded, posterior)]
    assert evidences[0] == evidences[1]
    found = [
        tfpbnn.predict(p, x, 5, seed=0, verbose=0)["b"].outputs
        for p in (loaded, posterior)
    ]
    np.testing.assert_array_equal(*found)


def test_mixtures_take_turns(several):
    """Each component draws in its own way, to first order."""
    model, x, y, posterior = several
    parts = [posterior, tfpbnn.laplace(model, x, y, ["a"], "diag")]
    mixture = tfpbnn.ensembles.PosteriorMixture(parts)
    found, *each = (
        tfpbnn.predict(p, x, 4, seed=0, verbose=0)["a"].outputs
        for p in (mixture, *parts)
    )
    for draw in range(4):
        expected = each[draw % 2][draw]
        np.testing.assert_allclose(found[draw], expected, rtol=1e-4, atol=1e-5)


def test_a_grid_finds_the_least_nll(several, monkeypatch):
    model, x, y, _ = several
    monkeypatch.setattr(fitting, "_GRID", np.array([1e-4, 1.0, 1e4]))
    grid = tfpbnn.laplace(
        model, x, y, ["a"], "diag", prior_precision="grid",
        validation_data=(x, y),
    )  # fmt: skip
    found = []
    for precision in fitting._GRID:
        grid.prior_precision, best = precision, grid.prior_precision
        scores = tfpbnn.evaluate(grid, x, y, seed=0, verbose=0)
        found.append(scores["a_nll"] + scores["b_nll"])
        grid.prior_precision = best
    assert grid.prior_precision == fitting._GRID[np.argmin(found)]


def test_probit_is_the_mean_of_a_sigmoid():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    model.compile("sgd", likelihoods.Bernoulli())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)).astype("float32")
    y = rng.integers(0, 2, 30)
    how = {"structure": "full", "prior_precision": 1.0}
    posteriors = [
        tfpbnn.laplace(model, x, y, link=link, **how)
        for link in ("probit", "linearized")
    ]
    found = [
        tfpbnn.predict(p, x, 2000, seed=0, verbose=0).mean for p in posteriors
    ]
    # The rule's own error is below 0.01, that of 2,000 draws below 0.03.
    np.testing.assert_allclose(*found, atol=0.04)
    mean, covariance = posteriors[0].output_moments(x)
    shrunk = mean / np.sqrt(1 + np.pi / 8 * covariance[:, 0])
    np.testing.assert_allclose(
        np.ravel(found[0]), np.ravel(1 / (1 + np.exp(-shrunk))), rtol=1e-4
    )
