"""Chains have the moments of long runs of NumPyro's NUTS.

The files in tests/data say what made them (`benchmarks/reference_moments.py`).
Differences are in units of both programs' Monte Carlo errors together: with a
limit of 5 a test of 40 of them fails by chance once in 40,000 runs.
"""

import pathlib
import warnings

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.diagnostics import convergence

DATA = pathlib.Path(__file__).parents[1] / "data"
LIMIT = 5.0


def reference(name):
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def sample(model, data, likelihood, kernel="nuts", **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that are too short
        return tfpbnn.mcmc.sample(
            model,
            data["x"],
            data["y"],
            kernel,
            likelihood=likelihood,
            seed=0,
            verbose=0,
            **kwargs,
        )


def assert_moments(draws, data, bias=0.0):
    """Means and squares of draws `[C, S, K]` are those of the reference.

    Args:
        draws: of the quantities.
        data: the reference.
        bias: the relative error of variances that a method may have, and of
            means, in standard deviations.
    """
    variance = data["square"] - data["mean"] ** 2
    allowed = {"mean": bias * np.sqrt(variance)}
    # A square is the variance and the mean's own square, which is off too.
    allowed["square"] = bias * variance
    allowed["square"] += 2 * np.abs(data["mean"]) * allowed["mean"]
    for name, powers in [("mean", draws), ("square", draws**2)]:
        error = np.hypot(convergence.mcse(powers), data[f"{name}_error"])
        off = np.abs(powers.mean((0, 1), dtype="float64") - data[name])
        z = (off - allowed[name]) / error
        assert z.max() < LIMIT, f"{name} off by {z.max():.1f} errors"


def test_logistic_regression():
    data = reference("logistic")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    posterior = sample(model, data, loss, num_chains=2, num_samples=1500)
    kernel, bias = posterior.draws.values()
    draws = np.concatenate([kernel[..., 0], bias], -1)
    assert_moments(draws, data)
    assert convergence.ess(draws).min() > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "bias", "chains", "init"),
    [
        ("nuts", 0.0, 2, "map"),
        ("mclmc", 0.05, 2, "map"),
        ("snaper", 0.0, 16, "annealed"),
    ],
    ids=["nuts", "mclmc", "snaper"],
)
def test_a_network_of_50_units(kernel, bias, chains, init):
    """13-50-1 with tanh and 500 rows: predictions at 20 inputs.

    A draw of "mclmc" is as far as its directions are remembered, some hundred
    gradients from the one before, so that none need be left out.
    """
    data = reference("network")
    model = keras.Sequential(
        [
            keras.Input((13,)),
            keras.layers.Dense(50, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    likelihood = tfpbnn.likelihoods.Normal(scale=0.1)
    posterior = sample(
        model,
        data,
        likelihood,
        kernel,
        num_chains=chains,
        num_warmup=500,
        num_samples=400 if chains == 2 else 150,
        init=init,
    )
    found = posterior.predictions(data["test"])[..., 0]
    assert_moments(found, data, bias)
    assert np.median(convergence.ess(found)) > 100
