"""`Variational`: any Keras layer with drawn values of its weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as plain

from tests.checks import (
    check_fit,
    check_frozen,
    check_kl_once,
    check_save,
    check_shapes,
    draws,
)
from tests.statistics import assert_correlation, assert_moments
from tfpbnn import families, layers, random

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 3)).astype("float32")
VIDEO = RNG.normal(size=(2, 3, 4, 4, 2)).astype("float32")
WORDS = np.array([[1, 4, 1, 0], [1, 2, 0, 0]])
NARROW = families.MeanFieldNormal(  # scales of 1e-7: a draw is the mean
    untransformed_scale_initializer=keras.initializers.Constant(-40.0)
)


def bidirectional():
    return plain.Bidirectional(plain.GRU(2, return_sequences=True, dropout=0.2))


def stacked():
    return plain.RNN([plain.LSTMCell(3), plain.GRUCell(2)])


def network():
    hidden = plain.Dense(3, activation="tanh")
    return keras.Sequential(
        [hidden, plain.BatchNormalization(), plain.Dense(2)]
    )


def wrapped(make, **kwargs):
    return layers.Variational(make(), **kwargs)


CASES = [
    (bidirectional, X),
    (network, X[:, 0]),
    (functools.partial(plain.ConvLSTM2D, 2, 2, padding="same"), VIDEO),
    (functools.partial(plain.Embedding, 5, 3, mask_zero=True), WORDS),
    (stacked, X),
]


@pytest.mark.parametrize(("make", "x"), CASES)
def test_layer(make, x):
    make = functools.partial(wrapped, make, bias_prior="normal")
    for check in (check_shapes, check_kl_once, check_frozen):
        check(make, {}, x)


@pytest.mark.parametrize(("make", "x"), CASES)
def test_config(make, x):
    layer = wrapped(make, bias_posterior="point_estimate", seed=3)
    again = layers.Variational.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    layer(x)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert again.get_config() == layer.get_config()
    assert again.built
    assert [v.name for v in again.weights] == [v.name for v in layer.weights]


def test_fit():
    check_fit(functools.partial(wrapped, lambda: plain.Dense(2)), {}, X)


def test_models_load_in_a_fresh_process(tmp_path):
    """Of the recurrent layers too: one process for all."""
    inputs = keras.Input(X.shape[1:])
    attention = wrapped(functools.partial(plain.MultiHeadAttention, 2, 3))
    cases = [(keras.Model(inputs, attention(inputs, inputs)), X)]
    recurrent = [
        layers.LSTMReparameterization(2, bias_posterior="mean_field_normal"),
        plain.Bidirectional(layers.GRUReparameterization(2, seed=4)),
        layers.SimpleRNNReparameterization(2, kernel_posterior=None),
    ]
    for layer in recurrent:
        cases.append((keras.Sequential([inputs, plain.Masking(), layer]), X))
    for make, x in CASES:
        start = keras.Input(x.shape[1:], dtype=x.dtype)
        cases.append((keras.Sequential([start, wrapped(make)]), x))
    check_save(cases, tmp_path)


def test_moments_and_correlation():
    layer = layers.Variational(plain.Dense(2), bias_posterior=NARROW)
    x = X[:, 0]
    layer(x)
    layer.layer.bias.assign([0.5, -0.5])
    found = draws(layer, x, 20_000)
    loc, scale = layer.layer.kernel.numpy(), layer.kernel_posterior.scale
    covariance = np.einsum("ai,ij,bi->jab", x, np.square(scale), x)
    sd = np.sqrt(np.einsum("jaa->aj", covariance))
    assert_moments(found, x @ loc + [0.5, -0.5], sd)
    correlation = covariance[1, 0, 2] / (sd[0, 1] * sd[2, 1])
    assert_correlation(found[:, 0, 1], found[:, 2, 1], correlation)


def test_narrow_posterior_is_the_layer_itself():
    """With all that it was called with, and its masks; nothing is rebuilt."""
    attention = plain.MultiHeadAttention(2, 3)
    kwargs = {"use_causal_mask": True, "return_attention_scores": True}
    expected = attention(X, X[:, :4], **kwargs)
    layer = layers.Variational(
        attention, posterior=NARROW, bias_posterior=NARROW
    )
    found = layer(X, X[:, :4], **kwargs)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    embedding = plain.Embedding(5, 3, mask_zero=True)
    model = keras.Sequential(
        [layers.Variational(embedding, posterior=NARROW), plain.LSTM(2)]
    )
    expected = model.layers[1](embedding(WORDS), mask=WORDS != 0)
    np.testing.assert_allclose(model(WORDS), expected, atol=1e-5)


def test_mixed_precision():
    """Float16 results of what is drawn, and float32 what is learned."""
    layer = layers.Variational(plain.Dense(2, dtype="mixed_float16"))
    model = keras.Sequential([keras.Input((3,)), layer])
    assert model(X[:, 0]).dtype == "float16"
    assert layer.kernel_posterior.scale.dtype == tf.float32
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    assert {loss.dtype for loss in layer.losses} == {tf.float32}


def test_names_and_which_weights_are_random():
    layer = wrapped(bidirectional)
    layer(X)
    random_ones = {
        name
        for name in layer._weight_names
        if getattr(layer, f"{name}_posterior").is_random
    }
    expected = {"kernel", "recurrent_kernel"}  # not the biases, of rank 2
    assert random_ones == expected | {f"{name}_1" for name in expected}
    assert layer.bias_1_prior is None
    assert (
        layer.kernel_1_posterior.loc is layer.layer.backward_layer.cell.kernel
    )


def test_statistics_and_losses_are_kept():
    """BatchNormalization's averages move; an activity counts once."""
    kwargs = {"activity_regularizer": "l2", "use_bias": False}
    dense, norm = plain.Dense(3, **kwargs), plain.BatchNormalization()
    inner = keras.Sequential([dense, norm])
    layer = layers.Variational(inner, posterior=NARROW, prior=None)
    layer.build((None, 3))
    for _ in range(2):
        y = layer(X[:, 0], training=True)
        (loss,) = layer.losses
    hidden = X[:, 0] @ dense.kernel.numpy()
    np.testing.assert_allclose(loss, 0.01 * np.sum(hidden**2) / 4, rtol=1e-4)
    assert y.shape == (4, 3)
    states = layer.trainable_variables, layer.non_trainable_variables
    *_, losses = layer.stateless_call(*states, X[:, 0], return_losses=True)
    np.testing.assert_allclose(losses, [loss], rtol=1e-4)
    average = hidden.mean(0) * (1 - 0.99**2)
    np.testing.assert_allclose(norm.moving_mean, average, rtol=1e-4)


def test_stateless_call():
    """Given values are used, drawn from and handed back: none is stored."""
    layer = wrapped(network, seed=1)
    layer.build((None, 3))
    trainable = [v + 1 for v in layer.trainable_variables]
    others = [v + 0 for v in layer.non_trainable_variables]
    before = [np.array(v) for v in layer.variables]
    y, changed = layer.stateless_call(trainable, others, X[:, 0], training=True)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    for variable, value in zip(
        layer.trainable_variables, trainable, strict=True
    ):
        variable.assign(value)
    np.testing.assert_allclose(layer(X[:, 0], training=True), y, atol=1e-5)
    for variable, value in zip(
        layer.non_trainable_variables, changed, strict=True
    ):
        np.testing.assert_allclose(variable, value, rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
class DropoutCell(keras.layers.Layer):
    """Moves its generator on inside of the loop over time."""

    state_size = 4

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.dropout = plain.Dense(4), plain.Dropout(0.5)

    def build(self, input_shape):
        self.dense.build((None, input_shape[-1] + 4))

    def call(self, x, states, training=False):
        y = self.dense(keras.ops.concatenate([x, *states], -1))
        y = self.dropout(y, training=training)
        return y, [y]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_state_that_changes_in_a_loop(jit_compile):
    layer = layers.Variational(plain.RNN(DropoutCell()))
    layer.build(X.shape)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run():
        with random.draw_scope(random.as_key(0)):
            return layer(X, training=True)

    assert np.any(run() != run()), "the same dropout twice"


def test_frozen_parts_are_points():
    model = network()
    model.build((None, 3))
    model.layers[0].trainable = False
    layer = layers.Variational(model, bias_prior="normal")
    layer(X[:, 0])
    assert layer._weight_names == ("gamma", "beta", "kernel", "bias")
    assert layer.kernel_posterior.loc is model.layers[2].kernel


def test_frozen_layer_may_be_trained_later():
    layer = layers.Variational(plain.Dense(2, trainable=False))
    layer(X)
    assert layer.trainable_variables == layer.losses == []
    layer.trainable = True
    assert len(layer.trainable_variables) == 3
    assert len(layer.losses) == 1


def quantized():
    layer = plain.Dense(4)
    layer.build((None, 3))
    layer.quantize("int8")
    return layer


def in_another():
    layer = plain.Dense(4)
    layers.Variational(layer)(X)
    return layer


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: "lstm", TypeError, "`layer` must be a Keras layer"),
        (families.MeanFieldNormal, TypeError, "`layer` must be a Keras layer"),
        (quantized, ValueError, "`layer` must not be quantized"),
        (in_another, ValueError, "`layer` must be a plain Keras layer"),
        (
            lambda: keras.Sequential([layers.DenseFlipout(2)]),
            ValueError,
            "`layer` must be a plain Keras layer",
        ),
        (plain.ReLU, ValueError, "`layer` must have trainable weights"),
        (
            lambda: plain.Dense(2, dtype="float16"),
            ValueError,
            "must be float32 or float64",
        ),
        (
            lambda: plain.SpectralNormalization(plain.Dense(2)),
            ValueError,
            "assigns to its own trainable weights",
        ),
    ],
)
def test_layers_that_it_cannot_wrap(make, error, match):
    with pytest.raises(error, match=match):
        layers.Variational(make())(X, training=True)


def test_layers_that_it_cannot_be_in():
    with pytest.raises(ValueError, match="`state_size` attribute"):
        plain.RNN(layers.Variational(plain.LSTMCell(2)))
    with pytest.raises(ValueError, match="go_backwards"):
        plain.Bidirectional(layers.Variational(plain.LSTM(2)))
