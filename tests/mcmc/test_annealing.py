"""Chains that begin where a growing likelihood has brought them.

Limits are of five standard errors: a test of 10 of them fails by chance once
in 170,000 runs.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.mcmc.test_sample import NOISE, X, Y, exact, linear
from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import starts

NORMAL = tfpbnn.likelihoods.Normal(scale=NOISE)
CHAINS = 256
LIMIT = 5.0


def found(problem, init, chains, together):
    return starts.find(problem, init, chains, 0, together).vector


@pytest.fixture(scope="module")
def problem():
    return Problem(linear(), X, Y, NORMAL, "normal", True, None)


def test_they_begin_near_draws_of_the_posterior(problem):
    """Each chain near one, independent of the others.

    Variances may be off by less than 44 %: of 4,096 chains they were 0.84 to
    1.04 of the exact ones. That the draws after warm-up are exact is tested
    with the kernels.
    """
    mean, covariance = exact()
    scale = np.linalg.cholesky(covariance)
    vectors = found(problem, "annealed", CHAINS, True)
    whitened = np.linalg.solve(scale, (vectors - mean).T)
    assert np.abs(whitened.mean(1)).max() < LIMIT / CHAINS**0.5
    squares = (whitened**2).mean(1)
    assert np.abs(squares - 1).max() < LIMIT * (2 / CHAINS) ** 0.5


def test_each_alone_is_the_same_whatever_the_others(problem):
    one, two = (found(problem, "annealed", n, False) for n in (1, 2))
    np.testing.assert_array_equal(one, two[:1])
    assert len(np.unique(two)) == two.size


class Hill(keras.layers.Layer):
    """Such outputs that minus the log-likelihood of 0, up to a constant, is

    0 for a weight of -1, 59 in a hollow near 0.9, and 73 on the hill between.
    """

    def build(self, _):
        self.w = self.add_weight(shape=(), name="w")

    def call(self, x):
        energy = 40 * (self.w**2 - 1) ** 2 + 30 * (self.w + 1) + 2
        return 0 * x + keras.ops.sqrt(2 * energy)


def test_they_leave_modes_that_hold_little_while_they_can():
    """A share of e^-59 is in the hollow, and half of the prior's draws."""
    model = keras.Sequential([keras.Input((1,)), Hill()])
    x, y = np.zeros((2, 1, 1))
    likelihood = tfpbnn.likelihoods.Normal(scale=1.0)
    problem = Problem(model, x, y, likelihood, "normal", True, None)
    share = {
        init: (found(problem, init, 100, True) > 0).mean()
        for init in ("map", "annealed")
    }
    assert share["map"] > 0.3
    assert share["annealed"] < 0.1


@pytest.mark.parametrize("shards", [None, 3])
def test_a_power_counts_rows_less_or_more(shards):
    """As if all had that weight, whether or not devices share them."""
    weights = np.full(len(X), 0.3)
    settings = (X, Y, NORMAL, "normal", True)
    whole = Problem(linear(), *settings, None, row_shards=shards).density
    less = Problem(linear(), *settings, weights).density
    vectors = tf.constant(
        np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    )
    np.testing.assert_allclose(
        whole(vectors, whole.data, tf.constant([0.3, 0.3])),
        less(vectors, less.data),
        rtol=1e-5,
    )
