"""Outputs count as they do in the loss that the network was trained with."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfpbnn
from tfpbnn import likelihoods
from tfpbnn.posteriors.laplace.shares import divisors_of

L = keras.layers
RNG = np.random.default_rng(0)
ROWS, STEPS, PRECISION = 12, 4, 1.7
SCALES = {"one": 0.5, "steps": 2.0}
X = RNG.normal(size=(ROWS, 3)).astype("float32")
Y = [RNG.normal(size=(ROWS, 1)), RNG.normal(size=(ROWS, STEPS, 1))]
MEAN_SQUARES = {"one": "mse", "steps": "mse"}  # of scale 1 / sqrt(2)
NORMALS = {n: likelihoods.Normal(scale) for n, scale in SCALES.items()}


@pytest.fixture(scope="module")
def linear():
    """A model linear in its random weights, and the slopes of its outputs."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    h = L.Dense(STEPS, use_bias=False, name="shared")(inputs)
    one = L.Dense(1, use_bias=False, name="one")
    steps = L.Reshape((STEPS, 1), name="steps")
    model = keras.Model(inputs, [one(h), steps(h)])
    kernels = [np.asarray(one.kernel), np.eye(STEPS)]
    slopes = [
        np.einsum("ni,hm->nmih", X, k).reshape(-1, 3 * STEPS) for k in kernels
    ]
    return model, slopes


def exact(slopes, scales, shares):
    """The posterior's mean and variances, and the log marginal likelihood.

    A Normal density to the power s is one of s times the precision, up to a
    factor.
    """
    noise = np.concatenate(
        [
            np.full(len(j), scale**2 / s)
            for j, scale, s in zip(slopes, scales, shares, strict=True)
        ]
    )
    every, y = np.concatenate(slopes), np.concatenate([*map(np.ravel, Y)])
    precision = PRECISION * np.eye(3 * STEPS) + every.T / noise @ every
    covariance = np.linalg.inv(precision)
    spread = np.diag(noise) + every @ every.T / PRECISION
    evidence = scipy.stats.multivariate_normal(None, spread).logpdf(y)
    for j, scale, s in zip(slopes, scales, shares, strict=True):
        factor = 2 * np.pi * scale**2
        evidence += 0.5 * len(j) * (np.log(factor / s) - s * np.log(factor))
    mean = covariance @ (every.T / noise @ y)
    return mean, np.diag(covariance), evidence


# The losses, what `compile` is given as their weights, what the outputs count.
CASES = {
    "list": (NORMALS, [2.0, 0.3], (2.0, 0.3)),
    "dict": (NORMALS, {"steps": 0.3, "one": 2.0}, (2.0, 0.3)),
    "none": (NORMALS, None, (1.0, 1.0)),
    "means over places": (MEAN_SQUARES, [1.0, 0.5], (1.0, 0.5 / STEPS)),
    "made up for": (MEAN_SQUARES, [1.0, STEPS], (1.0, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_linear_models_are_exact(name, linear):
    model, slopes = linear
    losses, weights, shares = CASES[name]
    scales = SCALES.values() if losses is NORMALS else [0.5**0.5] * 2
    mean, variances, evidence = exact(slopes, scales, shares)
    model.compile("sgd", losses, loss_weights=weights)
    model.get_layer("shared").kernel.assign(mean.reshape(3, STEPS))
    posterior = tfpbnn.laplace(
        model, X, Y, ["shared"], "full", prior_precision=PRECISION
    )
    found = np.ravel(posterior.variances()[0])
    np.testing.assert_allclose(found, variances, rtol=1e-4)
    assert np.isclose(posterior.log_marginal_likelihood(), evidence, rtol=1e-5)
    # That mean is where training ends, with the prior's penalty.
    kernel = model.get_layer("shared").kernel.value
    with tf.GradientTape() as tape:
        loss = model.compute_loss(X, Y, model(X))
        penalty = PRECISION / 2 * tf.reduce_sum(kernel**2) / ROWS
        found = loss + penalty
    gradient = tape.gradient(found, kernel)
    np.testing.assert_allclose(gradient, np.zeros((3, STEPS)), atol=1e-4)


def share_of_steps(model, **how):
    """The share of the second output in the sum of the log-likelihoods."""
    how |= {"subset": ["shared"], "structure": "diag", "prior_precision": 1.0}
    outputs = [np.asarray(output) for output in model(X)]
    each = [
        scipy.stats.norm(f, SCALES[n]).logpdf(y).sum()
        for n, f, y in zip(SCALES, outputs, Y, strict=True)
    ]
    found = tfpbnn.laplace(model, X, Y, **how).log_likelihood
    return (found - each[0]) / each[1]


def test_likelihoods_that_are_passed_count_once(linear):
    model, _ = linear
    model.compile("sgd", NORMALS, loss_weights=[1.0, 0.3])
    assert share_of_steps(model) == pytest.approx(0.3, rel=1e-4)
    whole = share_of_steps(model, likelihood=NORMALS)
    assert whole == pytest.approx(1.0, rel=1e-4)


def test_unlike_numbers_of_places_are_said(linear):
    model, _ = linear
    model.compile("sgd", MEAN_SQUARES)
    with pytest.warns(UserWarning, match="'one': 1.0, 'steps': 4.0"):
        tfpbnn.laplace(model, X, Y, ["shared"], "diag", prior_precision=1.0)


def test_weights_of_rows_divide_losses_that_are_means_with_them(linear):
    model, _ = linear
    mean = likelihoods.Normal(1.0, reduction="mean_with_sample_weight")
    model.compile("sgd", [mean, likelihoods.Normal(1.0)])
    given = {"x": X, "y": Y, "sample_weight": np.arange(ROWS)}
    _, values = divisors_of(model, given, ROWS, 1)
    assert values == [np.arange(ROWS).sum(), ROWS]


@pytest.mark.parametrize(
    ("reductions", "weights", "message"),
    [
        (("sum", "mean"), None, "must be 'sum' for all outputs or for none"),
        (("mean", "mean"), [1.0, -1.0], "loss_weights.*must be"),
    ],
    ids=["sum", "negative"],
)
def test_bad_input(reductions, weights, message, linear):
    model, _ = linear
    losses = [likelihoods.Normal(1.0, reduction=r) for r in reductions]
    model.compile("sgd", losses, loss_weights=weights)
    with pytest.raises(ValueError, match=message):
        tfpbnn.laplace(model, X, Y, ["shared"])
