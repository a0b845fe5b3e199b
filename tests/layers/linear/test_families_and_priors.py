"""Layers with every family and every prior."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfpbnn
from tests.checks import check_save
from tests.families.table import FAMILIES
from tests.priors.test_kl_pairs import PRIORS

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


@keras.saving.register_keras_serializable("tests")
class Logistic(tfpbnn.priors.Prior):
    """As a user writes one, without a `get_config`."""

    def __init__(self, width=1.0, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def distribution(self):
        logistic = tfp.distributions.Logistic(0.0, self.width)
        return tfp.distributions.Sample(logistic, self.weight_shape)


@keras.saving.register_keras_serializable("tests")
class Fixed(tfpbnn.families.Family):
    """Likewise."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, shape, loc=None):
        self._loc = self.add_parameter("loc", shape, "zeros")

    @property
    def loc(self):
        return self._loc

    def sample(self, key):
        shape = self.loc.shape
        return self.loc + self.scale * tfpbnn.random.normal(key, shape)

    def distribution(self):
        normal = tfp.distributions.Normal(self.loc.value, self.scale)
        return tfp.distributions.Independent(normal, len(self.loc.shape))


class Forgetful(tfpbnn.priors.Normal):
    def __init__(self, label="mine", **kwargs):
        super().__init__(**kwargs)


def test_classes_of_users_need_no_config_for_plain_arguments(tmp_path):
    cases = [
        {"kernel_posterior": Fixed(0.5), "kernel_prior": Logistic(3.0)},
        {"kernel_prior": Logistic()},
    ]
    inputs = keras.Input((4,), dtype="float32")
    outputs = [
        tfpbnn.layers.DenseReparameterization(3, seed=i, **case)(inputs)
        for i, case in enumerate(cases)
    ]
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    first, second = again.layers[1:]
    assert first.kernel_posterior.scale == 0.5
    assert first.kernel_prior.width == 3.0
    assert second.kernel_prior.width == 1.0
    np.testing.assert_allclose(again.losses, model.losses, rtol=1e-6)
    for y, expected in zip(again(X), model(X), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_an_argument_that_a_config_lacks_is_not_lost_in_silence():
    with pytest.raises(
        ValueError, match=r"`Forgetful.get_config` must have .*\['label'\]"
    ):
        tfpbnn.layers.DenseFlipout(3, kernel_prior=Forgetful("yours"))


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
