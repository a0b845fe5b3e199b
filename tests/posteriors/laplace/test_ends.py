"""Networks that end in an activation, or in half precision."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import likelihoods

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3)).astype("float32")
Y = RNG.integers(0, 3, 30)
ENDS = {
    "softmax": (
        likelihoods.Categorical(),
        likelihoods.Categorical(from_logits=False),
        Y,
    ),
    "exponential": (
        likelihoods.Poisson(),
        likelihoods.Poisson(from_log_rate=False),
        Y[:, np.newaxis].repeat(3, axis=1),
    ),
}


def network(loss, activation=None, dtype=None):
    keras.utils.set_random_seed(0)
    layers = [
        L.Dense(4, activation="tanh", dtype=dtype),
        L.Dense(3, activation=activation, dtype=dtype),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("sgd", loss)
    return model


def laplace(model, y, **how):
    how = {"structure": "full", "prior_precision": 0.5} | how
    return tfpbnn.laplace(model, X, y, "all", **how)


@pytest.mark.parametrize("activation", sorted(ENDS))
def test_what_is_before_the_activation_is_linear(activation):
    """So a likelihood of logits and one of probabilities agree."""
    before, after, y = ENDS[activation]
    posteriors = [
        laplace(network(before), y),
        laplace(network(after, activation), y),
    ]
    evidences = [p.log_marginal_likelihood() for p in posteriors]
    assert np.isclose(*evidences, rtol=1e-4)
    moments = [p.output_moments(X[:4]) for p in posteriors]
    for found, expected in zip(*moments, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    if activation == "exponential":
        return  # the rest is the same
    means = [
        tfpbnn.predict(p, X, 20, seed=0, verbose=0).mean for p in posteriors
    ]
    np.testing.assert_allclose(*means, rtol=1e-3)


def test_half_precision_is_near_single():
    loss = likelihoods.Categorical()
    half = laplace(network(loss, dtype="mixed_float16"), Y, structure="kron")
    single = laplace(network(loss), Y, structure="kron")
    evidences = [p.log_marginal_likelihood() for p in (half, single)]
    assert np.isclose(*evidences, rtol=1e-3)


def test_rows_that_are_there_once_are_refused_by_name():
    model = network(likelihoods.Categorical())
    rows = ((X[i : i + 10], Y[i : i + 10]) for i in (0, 10, 20))
    with pytest.raises(ValueError, match="can be read again"):
        tfpbnn.laplace(model, rows, structure="low_rank")
