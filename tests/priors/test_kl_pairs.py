"""The KL of every family to every prior, against draws scored in NumPy."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.families.table import (
    FAMILIES,
    NORMAL,
    SHAPE,
    built,
    covariance,
    noises,
)
from tests.statistics import assert_mean
from tfpbnn import priors, random
from tfpbnn.priors.kl import kl_divergence

DRAWS = 4000
PRIORS = {
    "normal": priors.Normal(0.2, 0.7),
    "he": priors.Normal(scale="he"),
    "per_input": priors.Normal(scale=0.5, learnable_scale=True, axis=0),
    "per_unit": priors.Normal(scale=0.5, learnable_scale=True, axis=-1),
    "moped": priors.MOPED(0.6),
    "mixture": priors.ScaleMixture(0.25, 1.5, 0.2),
    "laplace": priors.Laplace(0.8),
    "student_t": priors.StudentT(3.0, 0.5),
    "half_cauchy": priors.HierarchicalNormal(priors.HalfCauchy(1.5), axis=-1),
    "inverse_gamma": priors.HierarchicalNormal(priors.InverseGamma(2.0, 0.7)),
    "horseshoe": priors.Horseshoe(1.2, axis=0),
    "regularized": priors.RegularizedHorseshoe(1.2, 0.9, axis=(0, 2)),
}
# What has no closed form is estimated from draws.
ESTIMATED = {
    (family, p) for family in FAMILIES for p in ("mixture", "student_t")
}
ESTIMATED |= {("radial", "laplace"), ("point", "laplace")}


def built_prior(name, posterior):
    """A prior with nothing near its start."""
    prior = PRIORS[name].copy(name="p", dtype="float32")
    prior.build_for(posterior)
    rng = np.random.default_rng(2)
    for variable in prior.variables:
        start = keras.ops.convert_to_numpy(variable)
        up = 0.5 if variable.path.endswith("sd") else 0.0
        variable.assign(start + up + 0.3 * rng.normal(size=variable.shape))
    return prior


@functools.cache
def posterior_and_draws(name):
    """A posterior, draws `[S, ...]` of it and their log densities `[S]`."""
    posterior = built(name)
    weights = posterior.loc.numpy() + noises(posterior, DRAWS)
    if name in NORMAL:
        q = stats.multivariate_normal(
            posterior.loc.numpy().ravel(), covariance(name, posterior)
        )
        return posterior, weights, q.logpdf(weights.reshape(DRAWS, -1))
    if name == "point":
        return posterior, weights, np.zeros(DRAWS)
    log_q = posterior.distribution().log_prob(weights)
    return posterior, weights, log_q.numpy()


def scale_draws(posterior, log_density, rng):
    """Log-normal draws of scales, and `log p - log q` of each draw."""
    loc, sd = np.asarray(posterior.loc), np.asarray(posterior.sd_log)
    s = loc + sd * rng.normal(size=(DRAWS, *loc.shape))
    ratio = log_density(s) - stats.norm.logpdf(s, loc, sd)
    return np.exp(s), ratio.reshape(DRAWS, -1).sum(1)


def half_cauchy(scale):
    return lambda s: stats.halfcauchy.logpdf(np.exp(s), scale=scale) + s


def inverse_gamma(concentration, scale):
    return lambda s: (
        stats.invgamma.logpdf(np.exp(2 * s), concentration, scale=scale)
        + math.log(2)
        + 2 * s
    )


def prior_scales(name, prior, rng):
    """Draws of the weights' prior scales, and `log p - log q` of each."""
    if name == "half_cauchy":
        return scale_draws(prior.scale_posterior, half_cauchy(1.5), rng)
    if name == "inverse_gamma":
        density = inverse_gamma(2.0, 0.7)
        scale, ratio = scale_draws(prior.scale_posterior, density, rng)
        return scale.reshape(-1, 1, 1, 1), ratio
    local_scale = 0.9 if name == "regularized" else 1.0
    shared, ratio = scale_draws(prior.global_posterior, half_cauchy(1.2), rng)
    local, more = scale_draws(
        prior.local_posterior, half_cauchy(local_scale), rng
    )
    scale = shared.reshape(-1, 1, 1, 1) * local
    ratio += more
    if name == "regularized":
        density = inverse_gamma(2.0, 8.0)  # 4 degrees of freedom, scale 2
        slab, more = scale_draws(prior.slab_posterior, density, rng)
        slab = slab.reshape(-1, 1, 1, 1)
        scale = scale * slab / np.sqrt(scale**2 + slab**2)
        ratio += more
    return scale, ratio


def log_density(name, prior, weights):
    """`log p(w)`, or of weights and scales less `log q(scales)`, `[S]`."""
    ratio = 0.0
    if name == "mixture":
        each = np.log(
            0.25 * stats.norm.pdf(weights, 0, 1.5)
            + 0.75 * stats.norm.pdf(weights, 0, 0.2)
        )
    elif name == "laplace":
        each = stats.laplace.logpdf(weights, 0, 0.8)
    elif name == "student_t":
        each = stats.t.logpdf(weights, 3.0, 0, 0.5)
    elif name in ("normal", "he", "per_input", "per_unit", "moped"):
        loc, scale = np.asarray(prior.loc), np.asarray(prior.scale)
        each = stats.norm.logpdf(weights, loc, scale)
    else:
        scale, ratio = prior_scales(name, prior, np.random.default_rng(3))
        each = stats.norm.logpdf(weights, 0.0, scale)
    return each.reshape(DRAWS, -1).sum(1) + ratio


def estimates(posterior, prior):
    """As many values of the KL as there are draws, if they differ."""

    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda i: kl_divergence(
                posterior, prior, random.fold(random.as_key(4), i)
            ),
            tf.range(DRAWS),
            fn_output_signature=tf.float32,
        )

    return run().numpy()


@pytest.mark.parametrize("prior_name", PRIORS)
@pytest.mark.parametrize("family_name", FAMILIES)
def test_pair(family_name, prior_name):
    posterior, weights, log_q = posterior_and_draws(family_name)
    prior = built_prior(prior_name, posterior)
    scored = log_q - log_density(prior_name, prior, weights)
    is_exact = (family_name, prior_name) not in ESTIMATED
    assert (prior.cross_entropy(posterior) is not None) == is_exact
    key = random.as_key(0)
    found = kl_divergence(posterior, prior, key)
    assert found.dtype == tf.float32
    assert found.shape == ()
    if scored.std() < 1e-6:  # a point, and a prior without scales
        np.testing.assert_allclose(found, scored.mean(), rtol=1e-5)
        return
    if is_exact or family_name == "point":
        other = kl_divergence(posterior, prior, random.as_key(1))
        assert found == other
    else:
        found = estimates(posterior, prior)
    assert_mean(scored - found, 0.0)
    error = scored.std() / math.sqrt(DRAWS)
    assert error < 0.15, f"a standard error of {error:.2f} nats sees too little"


def test_estimates_have_less_noise_than_one_draw():
    """The entropy is exact, and odd terms of the cross entropy cancel."""
    posterior, weights, log_q = posterior_and_draws("mean_field")
    prior = built_prior("student_t", posterior)
    one_draw = log_q - log_density("student_t", prior, weights)
    assert estimates(posterior, prior).var() < 0.5 * one_draw.var()


def test_he_prior_has_the_width_of_the_shape():
    prior = PRIORS["he"].copy(name="p", dtype="float32")
    prior.build(SHAPE)
    np.testing.assert_allclose(prior.scale, np.sqrt(2 / 2), rtol=1e-6)
    np.testing.assert_allclose(
        prior.distribution().stddev(), np.full(SHAPE, 1.0), rtol=1e-6
    )
