"""The compiled passes against the plain form and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base import positive
from tfpbnn.families import MeanFieldNormal
from tfpbnn.fused.mean_field_normal import _scale_and_slope
from tfpbnn.priors import Normal
from tfpbnn.priors.kl import kl_divergence

SHAPE = (160, 128)  # large enough to be fused


@pytest.fixture
def posterior():
    family = MeanFieldNormal(
        untransformed_scale_initializer=keras.initializers.RandomUniform(
            -12.0, 4.0, seed=1
        )
    )
    family.build(SHAPE)
    return family


def value_and_gradients(posterior, function, use_fused):
    upstream = random.normal(random.as_key(99), SHAPE)
    variables = [v.value for v in posterior.trainable_variables]
    with fused.enabled(use_fused), tf.GradientTape() as tape:
        value = function(posterior)
        loss = tf.reduce_sum(value * upstream)
    gradients = tape.gradient(
        loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [value, *gradients]


@pytest.mark.parametrize(
    "function",
    [
        lambda q: q.sample(random.as_key(1)),
        lambda q: q.noise_and_kl(random.as_key(1), None)[1],
        lambda q: q.loc_and_variance()[1],
    ],
    ids=["sample", "noise", "variance"],
)
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_fused_is_plain(posterior, function, jit_compile):
    def both(use_fused):
        return value_and_gradients(posterior, function, use_fused)

    compiled = both
    if jit_compile is not None:
        compiled = tf.function(both, jit_compile=jit_compile)
    for plain, fast in zip(both(False), compiled(True), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=2e-5, atol=2e-6)


def test_it_is_the_fused_form_that_runs(posterior, monkeypatch):
    called = []
    original = fused.normal_sample
    monkeypatch.setattr(
        fused,
        "normal_sample",
        lambda *a: called.append(1) or original(*a),
    )
    posterior.sample(random.as_key(1))
    assert not called
    with fused.enabled(True):
        posterior.sample(random.as_key(1))
    assert called


def test_scale_is_softplus_to_float32(posterior):
    raw = np.linspace(-80, 30, 20_001).astype(np.float32)
    scale, slope = _scale_and_slope(tf.constant(raw))
    exact = positive.SCALE_FLOOR + np.logaddexp(0, raw.astype(np.float64))
    np.testing.assert_allclose(scale, exact, rtol=4e-7)
    sigmoid = 1 / (1 + np.exp(-raw.astype(np.float64)))
    np.testing.assert_allclose(slope, sigmoid, rtol=4e-7, atol=1e-37)


@pytest.mark.parametrize("loc", [0.0, 0.7])
@pytest.mark.parametrize("learnable", [False, True])
def test_kl_and_its_gradients(posterior, loc, learnable):
    prior = Normal(loc, 0.6, learnable_scale=learnable)
    prior.build(SHAPE)
    variables = [
        v.value
        for v in posterior.trainable_variables + prior.trainable_variables
    ]
    with tf.GradientTape() as tape:
        fast = kl_divergence(posterior, prior, random.as_key(0))
    found = tape.gradient(fast, variables)

    with tf.GradientTape() as tape:
        q, s = (
            tf.cast(posterior.loc, "float64"),
            tf.cast(posterior.scale, "float64"),
        )
        p = tf.cast(prior.scale, "float64")
        plain = tf.reduce_sum(
            tf.math.log(p / s) + (s**2 + (q - loc) ** 2) / (2 * p**2) - 0.5
        )
    expected = tape.gradient(plain, variables)
    np.testing.assert_allclose(fast, plain, rtol=1e-5)
    for a, b in zip(found, expected, strict=True):
        # A gradient is a difference of two terms: relative to the larger one.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_kl_of_ten_million_weights_keeps_its_digits():
    family = MeanFieldNormal(
        untransformed_scale_initializer=keras.initializers.Constant(-3.0)
    )
    family.build((2500, 4000))
    prior = Normal(0.0, 1.0)
    prior.build((2500, 4000))
    found = kl_divergence(family, prior, random.as_key(0))
    loc = family.loc.numpy().astype(np.float64)
    scale = positive.SCALE_FLOOR + np.logaddexp(0, -3.0)
    exact = np.sum(-np.log(scale) + (scale**2 + loc**2 - 1) / 2)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_perturbed():
    key = random.as_key(3)
    mean = random.normal(random.as_key(1), [60, 32])
    variance = tf.exp(random.normal(random.as_key(2), [60, 32]))
    with tf.GradientTape() as tape:
        tape.watch([mean, variance])
        fast = fused.add_noise(mean, variance, key)
    found = tape.gradient(fast, [mean, variance])
    words = random.grid_bits(key[tf.newaxis], tf.range(60), 32)[0]
    noise = random.normal_from_bits(words)
    with tf.GradientTape() as tape:
        tape.watch([mean, variance])
        plain = mean + tf.sqrt(variance) * noise
    expected = tape.gradient(plain, [mean, variance])
    np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
