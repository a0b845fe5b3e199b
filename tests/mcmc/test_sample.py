"""Chains draw from exact posteriors.

Means and squares are compared in units of their own standard errors, from
ArviZ's effective sample sizes: with a limit of 5 a test of 20 of them fails by
chance once in 80,000 runs.
"""

import warnings

import keras
import numpy as np
import pytest

import tfpbnn
from tests.mcmc.hierarchical import PRIORS, network
from tfpbnn.base import programs
from tfpbnn.diagnostics import convergence
from tfpbnn.mcmc.progress import ChainBar
from tfpbnn.mcmc.runner import Runner

LIMIT = 5.0
NOISE = 0.5
ROWS, INPUTS = 40, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, INPUTS)).astype("float32")
# Inputs that go together make a posterior that is narrow in one direction.
X[:, 1] = X[:, 0] + 0.3 * X[:, 1]
Y = (X @ [1.0, -2.0, 0.5] + 0.3 + NOISE * rng.normal(size=ROWS))[:, None]


def exact():
    """The posterior's mean and covariance, with Normal(0, 1) priors."""
    design = np.c_[X, np.ones(ROWS)].astype("float64")
    precision = design.T @ design / NOISE**2 + np.eye(4)
    covariance = np.linalg.inv(precision)
    return covariance @ design.T @ Y[:, 0] / NOISE**2, covariance


def linear():
    return keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(1)])


def draw(model, **kwargs):
    arguments = {
        "likelihood": tfpbnn.likelihoods.Normal(scale=NOISE),
        "num_chains": 2,
        "num_warmup": 300,
        "num_samples": 1000,
        "seed": 1,
        "verbose": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that are too short
        return tfpbnn.mcmc.sample(model, X, Y, **(arguments | kwargs))


def vectors(posterior):
    """All weights, `[C, S, D]`."""
    parts = posterior.draws.values()
    return np.concatenate([p.reshape((*p.shape[:2], -1)) for p in parts], -1)


def assert_mean(draws, expected):
    """The mean of draws `[C, S, ...]`, in its own standard errors."""
    error = draws.mean((0, 1)) - expected
    z = np.abs(error / convergence.mcse(draws))
    assert z.max() < LIMIT, f"off by {z.max():.1f} standard errors"


def assert_normal(draws, mean, covariance, bias=0.0):
    """Draws `[C, S, D]` have these moments.

    Args:
        draws: of the weights.
        mean: of the Normal.
        covariance: of the Normal.
        bias: the relative error of variances that a method may have.
    """
    assert_mean(draws, mean)
    white = np.linalg.solve(
        np.linalg.cholesky(covariance), (draws - mean)[..., None]
    )[..., 0]
    products = white[..., :, None] * white[..., None, :]
    rows, columns = np.triu_indices(len(mean))
    error = products.mean((0, 1)) - np.eye(len(mean))
    z = np.maximum(np.abs(error) - bias, 0)[rows, columns]
    z /= convergence.mcse(products)[rows, columns]
    assert z.max() < LIMIT, f"off by {z.max():.1f} standard errors"


@pytest.fixture(scope="module")
def posterior():
    return draw(linear())


def test_nuts_draws_the_exact_posterior(posterior):
    assert_normal(vectors(posterior), *exact())
    # Enough draws for a variance off by a fifth to be seen.
    assert convergence.ess(vectors(posterior) ** 2).min() > 400


@pytest.mark.parametrize(
    ("arguments", "bias"),
    [
        ({"kernel": "hmc"}, 0.0),
        ({"kernel": "nuts", "mass_matrix": "dense"}, 0.0),
        ({"kernel": "nuts", "mass_matrix": None, "init": "map"}, 0.0),
        # Its step sizes are such that the bias is below a twentieth.
        ({"kernel": "mclmc"}, 0.05),
    ],
    ids=["hmc", "dense", "no mass matrix", "mclmc"],
)
def test_other_ways_draw_it_too(arguments, bias):
    assert_normal(vectors(draw(linear(), **arguments)), *exact(), bias)


@pytest.fixture(scope="module")
def of_priors():
    """Draws of a model without data."""
    return tfpbnn.mcmc.sample(
        network(),
        np.zeros((4, 2)),
        np.zeros((4, 1)),
        likelihood=tfpbnn.likelihoods.Normal(),
        prior=PRIORS,
        num_chains=2,
        num_warmup=300,
        num_samples=1000,
        seed=2,
        verbose=0,
        sample_weight=np.zeros(4),
    )


def test_without_data_scales_are_drawn_from_their_priors(of_priors):
    scales = of_priors.scales
    # Medians, as half-Cauchy scales have no mean.
    for name, median in [
        ("b/kernel/global_scale", 0.5),
        ("b/kernel/local_scale", 1.0),
        ("noise/raw_scale/scale", 0.5),
    ]:
        assert_mean((scales[name] < median).astype(float), 0.5)
        assert_mean(
            (scales[name] < median * np.tan(np.pi / 8)).astype(float), 0.25
        )
    precision = scales["a/kernel/scale"] ** -2.0
    assert_mean(precision, 3.0 / 2.0)
    assert_mean(precision**2, 3.0 * 4.0 / 4.0)


def test_without_data_weights_are_drawn_from_their_priors(of_priors):
    """Given their scales they are standard Normal."""
    scales, draws = of_priors.scales, of_priors.draws
    local = scales["b/kernel/local_scale"]
    whole = scales["b/kernel/global_scale"][..., None, None] * local
    for raw in (
        draws["a/kernel"] / scales["a/kernel/scale"],
        draws["b/kernel"] / whole,
        draws["a/bias"],
    ):
        assert_mean(raw, 0.0)
        assert_mean(raw**2, 1.0)
    assert_mean(draws["c/kernel"], 0.0)
    assert_mean(np.abs(draws["c/kernel"]), 2.0)


def test_a_chain_depends_on_its_seed_and_place_alone(posterior):
    """Not on the number of chains, nor of draws; thinned is every third."""
    compiled = len(programs._PROGRAMS)
    more = draw(linear(), num_chains=3, num_samples=5, thin=3)
    # XLA has nothing to do for a model that is made once more.
    assert len(programs._PROGRAMS) == compiled
    np.testing.assert_array_equal(
        vectors(more)[:2], vectors(posterior)[:, 2:15:3]
    )


def test_the_time_that_is_left_is_that_of_steps_alone(monkeypatch):
    """Compiling, and steps of an earlier run, are not counted."""
    began = []
    monkeypatch.setattr(Runner, "compile", lambda *_: began.append("compiled"))
    monkeypatch.setattr(
        ChainBar, "begin", lambda _, done: began.append(f"bar at {done}")
    )
    monkeypatch.setattr(ChainBar, "close", lambda _: None)
    monkeypatch.setattr(Runner, "run", lambda *_: began.append("ran"))
    with pytest.raises(KeyboardInterrupt):  # there is no draw
        draw(linear())
    assert began == ["bar at 0", "compiled", "bar at 0", "ran"]


def test_posterior_predicts_as_its_draws_do(posterior):
    design = np.c_[X, np.ones(ROWS)]
    expected = vectors(posterior) @ design.T
    found = posterior.predictions(X)[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    p = tfpbnn.predict(posterior, X, num_samples=posterior.num_members)
    np.testing.assert_allclose(
        p.mean[:, 0], expected.mean((0, 1)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        p.epistemic_variance[:, 0], expected.var((0, 1)), rtol=1e-3
    )
    np.testing.assert_allclose(p.aleatoric_variance, NOISE**2, rtol=1e-5)


def test_few_draws_are_from_all_chains_and_times(posterior):
    order = posterior._order[:8]
    assert set(order // 1000) == {0, 1}
    assert sorted(order[::2] % 1000) == [0, 256, 512, 768]
    assert sorted(posterior._order) == list(range(2000))


def test_summary(posterior):
    table = posterior.summary(X[:3])
    assert list(table.index) == ["predictions", "log_prob", *posterior.draws]
    assert (table["r_hat"] < 1.05).all()
    assert (table["ess_bulk"] > 100).all()
    assert table.loc["predictions", "size"] == 3
