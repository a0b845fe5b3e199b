"""A variational model's priors mean the same to chains, which begin with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.statistics import assert_mean
from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import starts

P = tfpbnn.priors
PRIORS = {
    "half_cauchy": lambda: P.HierarchicalNormal(P.HalfCauchy(0.5), axis=-1),
    "inverse_gamma": lambda: P.HierarchicalNormal(
        P.InverseGamma(3.0, 2.0), axis=0
    ),
    "horseshoe": lambda: P.Horseshoe(0.5),
    "regularized": lambda: P.RegularizedHorseshoe(0.5),
    "learned": lambda: P.Normal(scale=0.7, learnable_scale=True, axis=-1),
    "laplace": lambda: P.Laplace(2.0),
}
NORMAL = tfpbnn.likelihoods.Normal(scale=0.5)
COUNT = 2000
CHAINS = 300
X = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")


@pytest.fixture(scope="module")
def problem():
    """One layer of each prior, none of them at its start."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,))])
    for name, prior in PRIORS.items():
        model.add(
            tfpbnn.layers.DenseReparameterization(
                2, kernel_prior=prior(), use_bias=False, name=name
            )
        )
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        shift = rng.normal(scale=0.3, size=variable.shape)
        variable.assign_add(shift.astype("float32"))
    # So that scales are far from where their priors begin.
    model.get_layer("horseshoe").kernel_prior.global_posterior.loc.assign(-3.0)
    found = Problem(model, X, X, NORMAL, "normal", True, None)
    pairs = zip(found.parameters.random_weights, PRIORS, strict=True)
    return model, found, {name: weight for weight, name in pairs}


def draws_of(layer, count=COUNT):
    """Draws of a layer's posterior: weights and logarithms of scales."""
    rng = np.random.default_rng(2)
    loc, variance = map(np.asarray, layer.kernel_posterior.loc_and_variance())
    shape = (count, *loc.shape)
    weights = loc + np.sqrt(variance) * rng.standard_normal(shape)
    scales = {
        name: np.asarray(m)
        + np.asarray(s) * rng.standard_normal((count, *m.shape))
        for name, (m, s) in layer.kernel_prior.learned_scales().items()
    }
    return weights.astype("float32"), {
        name: s.astype("float32") for name, s in scales.items()
    }


@pytest.mark.parametrize("name", PRIORS)
def test_priors_mean_the_same(problem, name):
    """The mean log-density of the posterior's draws is what its KL has.

    Chains move in weights over scales, so theirs is less by log(scale).
    """
    model, _, weights = problem
    layer, weight = model.get_layer(name), weights[name]
    draws, scales = draws_of(layer)

    def one(arguments):
        draw, given = arguments
        if not given:
            return weight.log_prob({"weight": draw})
        scale = tf.broadcast_to(layer.kernel_prior.scale_given(given), [2, 2])
        parts = {"weight": draw / scale} | given
        return weight.log_prob(parts) - tf.reduce_sum(tf.math.log(scale))

    found = tf.vectorized_map(one, (draws, scales))
    prior, family = layer.kernel_prior, layer.kernel_posterior
    exact = float(prior.cross_entropy(family))
    for key, (_, hyperprior) in prior.hyperpriors().items():
        mean, sd = prior.learned_scales()[key]
        exact += float(tf.reduce_sum(hyperprior.cross_entropy(mean, sd)))
    assert_mean(found, -exact)


@pytest.fixture(scope="module")
def start(problem):
    return starts.find(problem[1], "vi", CHAINS, seed=0)


def test_chains_begin_at_draws_of_the_posterior(problem, start):
    """Weights and scales."""
    model, found, weights = problem
    drawn, scales = found.parameters.values(start.vector)
    for layer, draws, name in zip(model.layers, drawn, PRIORS, strict=True):
        loc, variance = layer.kernel_posterior.loc_and_variance()
        z = (draws - loc) / np.sqrt(variance)
        # Of 4 weights and 2 moments: an alarm once in 2 million runs.
        limit = 5.5 / np.sqrt(CHAINS)
        assert np.abs(np.mean(z, 0)).max() < limit
        assert np.abs(np.mean(z**2, 0) - 1).max() < np.sqrt(2) * limit
        path = weights[name].variable.path
        for key, (mean, sd) in layer.kernel_prior.learned_scales().items():
            log = np.log(scales[f"{path}/{key}"])
            error = np.abs(np.mean(log, 0) - mean)
            assert np.all(
                error <= 5.5 * np.asarray(sd) / np.sqrt(CHAINS) + 1e-5
            )


def test_its_widths_are_those_that_chains_begin_with(start):
    """Of the chains' own coordinates, a weight over its scale among them."""
    spread = start.vector.std(0)
    width = start.scale[0]
    known = spread > 1e-4  # a learned scale without a posterior is a point
    assert known.mean() > 0.8
    ratio = width[known] / spread[known]
    # To first order; scales' posteriors are up to 0.2 wide.
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4
    assert (width > 0).all()
