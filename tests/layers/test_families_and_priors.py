"""Layers with every family and every prior."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.checks import check_save
from tests.posteriors import FAMILIES
from tests.test_kl_pairs import PRIORS

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
# Each with the normal prior or posterior, and some with both.
CASES = {
    **{name: (family, "normal") for name, family in FAMILIES.items()},
    **{
        name: ("mean_field_normal", prior)
        for name, prior in PRIORS.items()
        if name not in ("normal", "regularized")
    },
    "low_rank, regularized": ("low_rank_normal", "regularized_horseshoe"),
    "log_uniform": ("mean_field_normal", "log_uniform"),
    "he, he": ("he_normal", "he_normal"),
}


def layer(name, **kwargs):
    posterior, prior = CASES[name]
    return tfpbnn.layers.DenseReparameterization(
        3, kernel_posterior=posterior, kernel_prior=prior, **kwargs
    )


def test_save(tmp_path):
    """All in one fresh process; priors' variables are moved from the start."""
    cases = []
    for name in CASES:
        model = keras.Sequential([keras.Input((4,)), layer(name)])
        for variable in model.layers[0].kernel_prior.variables:
            variable.assign(variable + 0.25)
        cases.append((model, X))
    check_save(cases, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_config(name):
    original = layer(name)
    again = type(original).from_config(original.get_config())
    assert again.get_config() == original.get_config()
    original(X)
    assert original.get_config() == again.get_config(), "building changed it"


@pytest.mark.parametrize("name", CASES)
def test_half_precision(name):
    """The KL is float32, and reaches every variable it should."""
    made = layer(name, dtype="mixed_float16", use_bias=False, kl_weight=1.0)
    with tf.GradientTape() as tape:
        y = made(X)
        (kl,) = made.losses
        loss = kl + tf.reduce_sum(tf.cast(y, tf.float32))
    assert y.dtype == tf.float16
    assert kl.dtype == tf.float32
    for variable in made.trainable_variables:
        assert variable.dtype == "float32"
    gradients = tape.gradient(loss, [v.value for v in made.trainable_variables])
    for variable, gradient in zip(
        made.trainable_variables, gradients, strict=True
    ):
        assert gradient is not None, variable.path
        assert np.all(np.isfinite(gradient)), variable.path
