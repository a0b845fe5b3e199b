"""Priors that learn from the data, where the truth is known."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from tfpbnn import families, priors, random
from tfpbnn.priors import hyperpriors
from tfpbnn.priors.kl import kl_divergence


def fit(prior, x, y, noise, steps=700):
    """Mean-field posterior and prior of a linear regression, in closed form.

    The likelihood's expectation is exact, so only the optimizer is random.
    """
    posterior = families.MeanFieldNormal().copy(name="q", dtype="float32")
    posterior.build((x.shape[1], y.shape[1]))
    prior = prior.copy(name="p", dtype="float32")
    prior.build_for(posterior)
    variables = posterior.trainable_variables + prior.trainable_variables
    schedule = keras.optimizers.schedules.CosineDecay(0.05, steps)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            mean, variance = posterior.loc_and_variance()
            errors = tf.reduce_sum(tf.square(y - x @ mean))
            errors += tf.reduce_sum(tf.square(x) @ variance)
            kl = kl_divergence(posterior, prior, random.as_key(0))
            loss = errors / (2 * noise**2) + kl
        optimizer.apply(
            tape.gradient(loss, [v.value for v in variables]), variables
        )

    for _ in range(steps):
        step()
    return posterior, prior


RELEVANT = np.array([[2.0], [-1.5], [1.0]], "float32")
SPARSE = {
    "normal": priors.Normal(),
    "horseshoe": priors.Horseshoe(axis=0),
    "regularized": priors.RegularizedHorseshoe(axis=0),
    "hierarchical": priors.HierarchicalNormal(axis=0),
}


@functools.cache
def sparse_fit(name):
    """60 rows of 30 inputs, of which the first 3 matter: mean, sd, prior."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 30)).astype("float32")
    y = x[:, :3] @ RELEVANT + 0.5 * rng.normal(size=(60, 1))
    posterior, prior = fit(SPARSE[name], x, y.astype("float32"), 0.5)
    loc, variance = posterior.loc_and_variance()
    return loc.numpy(), np.sqrt(variance), prior


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


@pytest.mark.parametrize("name", ["horseshoe", "regularized"])
def test_irrelevant_inputs_shrink_and_relevant_ones_do_not(name):
    plain, plain_sd, _ = sparse_fit("normal")
    loc, sd, prior = sparse_fit(name)
    assert rms(loc[3:]) < 0.4 * rms(plain[3:])
    assert rms(sd[3:]) < 0.65 * rms(plain_sd[3:])
    # The data say each relevant weight to 0.5 / sqrt(60) = 0.065 or so.
    np.testing.assert_allclose(loc[:3], RELEVANT, atol=0.2)
    np.testing.assert_allclose(sd[:3], plain_sd[:3], rtol=0.05)
    truth = np.concatenate([RELEVANT, np.zeros((27, 1))])
    assert rms(loc - truth) < 0.5 * rms(plain - truth)
    scale = np.asarray(prior.scale)
    assert scale[:3].min() > 5 * scale[3:].max()


def test_a_scale_for_each_input_shrinks_less_than_a_horseshoe():
    """It has no global scale that learns from all inputs together."""
    by_error = [
        rms(sparse_fit(name)[0][3:])
        for name in ("horseshoe", "hierarchical", "normal")
    ]
    assert by_error == sorted(by_error)


SCALES = np.array([0.2, 1.0], "float32")


def from_the_model():
    """Data whose weights are drawn from the prior; 150 weights per scale."""
    rng = np.random.default_rng(1)
    weights = SCALES * rng.normal(size=(150, 2)).astype("float32")
    x = rng.normal(size=(600, 150)).astype("float32")
    y = x @ weights + 0.5 * rng.normal(size=(600, 2)).astype("float32")
    return x, y, weights


@pytest.mark.parametrize(
    "prior",
    [
        priors.Normal(learnable_scale=True, axis=-1),
        priors.HierarchicalNormal(axis=-1),
        priors.HierarchicalNormal(priors.InverseGamma(0.5, 0.05), axis=-1),
    ],
    ids=["empirical Bayes", "half-Cauchy", "inverse gamma"],
)
def test_learned_scales_are_those_that_the_weights_were_drawn_with(prior):
    x, y, weights = from_the_model()
    _, prior = fit(prior, x, y, 0.5, steps=400)
    found = np.ravel(prior.scale)
    # 150 weights say their scale to 1 / sqrt(300) = 6 %.
    np.testing.assert_allclose(found, SCALES, rtol=0.18)
    np.testing.assert_allclose(found, weights.std(0), rtol=0.05)
    if isinstance(prior, priors.HierarchicalNormal):
        sd = np.ravel(prior.scale_posterior.sd_log)
        np.testing.assert_allclose(sd, 1 / np.sqrt(300), rtol=0.1)


@pytest.mark.parametrize("sd", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("loc", [-4.0, 0.3, 3.0])
def test_mean_softplus(loc, sd):
    expected = integrate.quad(
        lambda x: np.logaddexp(0, x) * stats.norm.pdf(x, loc, sd),
        loc - 12 * sd,
        loc + 12 * sd,
        epsabs=1e-10,
        limit=200,
    )[0]
    found = hyperpriors.mean_softplus(tf.constant(loc), tf.constant(sd))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("hyperprior", "log_density"),
    [
        (
            priors.HalfCauchy(0.3),
            lambda s: stats.halfcauchy.logpdf(np.exp(s), scale=0.3) + s,
        ),
        (
            priors.InverseGamma(1.5, 0.4),
            lambda s: (
                stats.invgamma.logpdf(np.exp(2 * s), 1.5, scale=0.4)
                + np.log(2)
                + 2 * s
            ),
        ),
    ],
)
def test_cross_entropy_of_scales(hyperprior, log_density):
    loc, sd = -0.7, 0.4
    expected = integrate.quad(
        lambda s: -log_density(s) * stats.norm.pdf(s, loc, sd), -5, 4
    )[0]
    found = hyperprior.cross_entropy(tf.constant(loc), tf.constant(sd))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
