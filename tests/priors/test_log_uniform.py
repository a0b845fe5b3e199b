"""Sparse variational dropout: the log-uniform prior."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

import tfpbnn
from tfpbnn import families, layers, priors, random
from tfpbnn.priors.kl import kl_divergence
from tfpbnn.priors.log_uniform import kl_to_log_uniform

THRESHOLD = 3.0  # Molchanov et al.'s: a weight is dropped at log(alpha) above


def exact_kl(log_alpha):
    """`E log|w| - entropy` by quadrature, less what it is at infinite alpha."""
    sd = np.exp(log_alpha / 2)

    def integrand(u):  # u = log|w|, in which nothing is singular
        density = stats.norm.pdf([np.exp(u), -np.exp(u)], 1, sd)
        return u * np.exp(u) * np.sum(density)

    ends = [-30, -1, max(-12 * sd, -0.5), 0, np.log1p(12 * sd)]
    pieces = itertools.pairwise(ends)
    log_size = sum(integrate.quad(integrand, *ends)[0] for ends in pieces)
    standard = -(np.euler_gamma + np.log(2)) / 2  # E log|z|
    return log_size - log_alpha / 2 - standard


def test_kl_is_as_close_as_the_paper_says():
    """Within 0.009 nats or so, and no closer: it is their fit that is used."""
    log_alpha = np.linspace(-8, 8, 33)
    error = kl_to_log_uniform(log_alpha) - np.vectorize(exact_kl)(log_alpha)
    assert 0.009 < np.abs(error).max() < 0.0095


@pytest.mark.parametrize(
    "family", [families.MeanFieldNormal(), families.KTiedNormal()]
)
def test_kl_of_weights(family):
    posterior = family.copy(name="q", dtype="float32")
    posterior.build((40, 3))
    prior = priors.LogUniform()
    prior.build_for(posterior)
    found = kl_divergence(posterior, prior, random.as_key(0))
    ratio = posterior.scale.numpy() / posterior.loc.numpy()
    expected = np.sum(np.vectorize(exact_kl)(np.log(ratio**2)))
    np.testing.assert_allclose(found, expected, atol=120 * 0.0095)
    assert found.dtype == tf.float32


@pytest.mark.parametrize("scale", [1.2e-7, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("loc", [0.0, 1e-30, -1e-8, 1.0, -1e3])
def test_gradients_are_finite(loc, scale):
    """At `loc = 0` and nearly no scale too, where pruned weights are."""
    start = keras.initializers.Constant
    raw = np.log(np.expm1(scale)) if scale < 30 else scale
    posterior = families.MeanFieldNormal(start(loc), start(raw))
    posterior.build((1,))
    prior = priors.LogUniform()
    prior.build_for(posterior)
    variables = [v.value for v in posterior.trainable_variables]
    with tf.GradientTape() as tape:
        kl = kl_divergence(posterior, prior, random.as_key(0))
    gradients = tape.gradient(kl, variables)
    assert np.all(np.isfinite([kl, *np.ravel(gradients)]))


STEPS = 1000
# By how many standard errors of 0.05 the data put each weight from zero.
ERRORS = np.array([40, -30, 20, 1.6, -1.6, *np.linspace(-0.9, 0.9, 25)])


@functools.cache
def sparse_fit():
    """A linear regression on orthogonal inputs: the trained model, x and y."""
    rng = np.random.default_rng(0)
    x = 10 * np.linalg.qr(rng.normal(size=(100, 30)))[0]
    noise = 0.5 * rng.normal(size=100)
    y = x @ (0.05 * ERRORS) + noise - x @ (x.T @ noise) / 100
    layer = layers.DenseLocalReparameterization(
        1, use_bias=False, kernel_prior="log_uniform", kl_weight=0.01, seed=0
    )
    model = keras.Sequential([keras.Input((30,)), layer])
    schedule = keras.optimizers.schedules.CosineDecay(0.05, STEPS)
    model.compile(
        keras.optimizers.Adam(schedule), tfpbnn.likelihoods.Normal(scale=0.5)
    )
    x, y = x.astype("float32"), y.astype("float32")[:, np.newaxis]
    model.fit(tf.data.Dataset.from_tensors((x, y)).repeat(STEPS), verbose=0)
    return model, x, y


def test_irrelevant_weights_are_dropped_and_relevant_ones_are_not():
    """Of one weight the bound's optimum is at infinite alpha up to 1.2."""
    model, _, _ = sparse_fit()
    posterior = model.layers[0].kernel_posterior
    loc, scale = np.ravel(posterior.loc), np.ravel(posterior.scale)
    log_alpha = np.log(scale**2 / loc**2)
    assert log_alpha[:3].max() < -THRESHOLD
    np.testing.assert_allclose(loc[:3], 0.05 * ERRORS[:3], atol=0.05)
    assert log_alpha[3:5].max() < 1
    assert log_alpha[5:].min() > THRESHOLD


def test_pruning_goes_by_the_same():
    """Signal-to-noise is `alpha ** -0.5`; nothing is lost with the dropped."""
    model, x, y = sparse_fit()
    ratios = np.ravel(tfpbnn.signal_to_noise(model).popitem()[1])
    kept = ratios > np.exp(-THRESHOLD / 2)
    np.testing.assert_array_equal(kept, np.abs(ERRORS) > 1.2)
    pruned = tfpbnn.prune(model, keep=np.mean(kept))
    loc = np.ravel(pruned.layers[0].kernel_posterior.loc)
    np.testing.assert_array_equal(loc != 0, kept)
    before, after = (
        tfpbnn.evaluate(m, x, y, num_samples=50, seed=0)
        for m in (model, pruned)
    )
    assert after["nll"] < before["nll"] + 0.05


@pytest.mark.parametrize(
    "family", ["radial", "point_estimate", "low_rank_normal"]
)
def test_other_families_are_refused(family):
    layer = layers.DenseReparameterization(
        2, kernel_posterior=family, kernel_prior="log_uniform"
    )
    name = family.title().replace("_", "")
    match = rf'"mean_field_normal", .* Received: kernel_posterior={name}'
    with pytest.raises(ValueError, match=match):
        layer.build((None, 3))


def test_it_has_no_distribution():
    with pytest.raises(NotImplementedError, match="no integral"):
        priors.LogUniform().distribution()
