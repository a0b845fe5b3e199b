"""`rate` reaches the same kernels, however a network is written."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.checks import draws
from tfpbnn.layers import MCDropout, MCWrapper

RATE = 0.3
X = np.random.default_rng(0).normal(size=(6, 4, 5)).astype("float32")


class Block(keras.layers.Layer):
    """Is not registered, and has the config that Keras writes for it."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(units, "tanh")
        self.second = keras.layers.Dense(units)

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build(self.first.compute_output_shape(input_shape))

    def call(self, x):
        return self.second(self.first(x))


class Product(keras.layers.Layer):
    """Has a weight of no known name."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units))

    def call(self, x):
        return x @ self.w


def dense(units=5, activation=None, **kwargs):
    return keras.layers.Dense(units, activation, **kwargs)


def flat_block(units=5):
    return [dense(units, "tanh"), dense(units)]


def both_ways(x):
    forward = keras.layers.LSTM(3)(x)
    return keras.ops.concatenate(
        [forward, keras.layers.LSTM(3, go_backwards=True)(x)], axis=-1
    )


def nested(layers):
    return [keras.Sequential([keras.Input((4, 5)), *layers])]


# Layers behind a first one, written in two ways.
BEHIND = {
    "own_block": ([Block(5)], flat_block()),
    "own_weight": ([Product(5)], [dense(use_bias=False)]),
    "nested": (nested([Block(5)]), flat_block()),
    "einsum": (
        [keras.layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")],
        [dense()],
    ),
    "time_distributed": (
        [keras.layers.TimeDistributed(dense())],
        [dense()],
    ),
    "cell": (
        [keras.layers.RNN(keras.layers.LSTMCell(3))],
        [keras.layers.LSTM(3)],
    ),
    "bidirectional": (
        [keras.layers.Bidirectional(keras.layers.LSTM(3))],
        [both_ways],
    ),
}
CASES = {
    name: tuple([dense(5, "tanh"), *way] for way in ways)
    for name, ways in BEHIND.items()
} | {
    "first_block": ([Block(5), dense(2)], [*flat_block(), dense(2)]),
    "first_wrapper": (
        [keras.layers.TimeDistributed(dense()), dense(2)],
        [dense(), dense(2)],
    ),
}


def network(layers):
    inputs = x = keras.Input(X.shape[1:])
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("name", CASES)
def test_one_network_has_one_variance(name):
    """The sums of 300 variances of about 100 outputs differ by some percent."""
    one, other = map(network, CASES[name])
    weights = [
        0.5 * np.random.default_rng(i).normal(size=w.shape)
        for i, w in enumerate(one.get_weights())
    ]
    variances = []
    for model in (one, other):
        model.set_weights(weights)
        mc = tfpbnn.mc_dropout(model, rate=RATE)
        with tfpbnn.random.draw_scope(None):
            np.testing.assert_allclose(mc(X), model(X), atol=1e-5)
        variances.append(draws(mc, X, 300).var(axis=0).sum())
    np.testing.assert_allclose(one(X), other(X), atol=1e-5)
    assert variances[1] > 0
    np.testing.assert_allclose(*variances, rtol=0.15)


def test_attention_drops_all_that_it_projects():
    inputs = keras.Input((4, 5))
    x = dense(5)(inputs)
    attention = keras.layers.MultiHeadAttention(2, 3, name="mha")
    model = keras.Model(inputs, attention(x, x))
    mc = tfpbnn.mc_dropout(model, rate=RATE)
    assert isinstance(mc.get_layer("mha"), MCWrapper)
    for weight in mc.get_layer("mha").trainable_variables:
        if "value" not in weight.path and "output" not in weight.path:
            weight.assign(0.0 * weight)  # so the scores are not random
    assert np.all(draws(mc, X, 20).std(axis=0) > 0)


def test_tables_and_single_kernels_are_let_be():
    tokens = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(7, 5, name="table")(tokens)
    shape = keras.layers.PReLU(name="shape")(table)
    model = keras.Model(tokens, dense(2, name="head")(shape))
    mc = tfpbnn.mc_dropout(model, rate=RATE)
    found = [x.name for x in mc.layers if isinstance(x, MCDropout)]
    assert found == ["head_dropout"]
    with pytest.raises(ValueError, match="no hidden layer with a kernel"):
        tfpbnn.mc_dropout(network([keras.layers.TimeDistributed(dense())]), 0.1)


def test_wrappers_with_kernels_are_saved(tmp_path):
    model = tfpbnn.mc_dropout(
        network([dense(), keras.layers.TimeDistributed(dense())]), rate=RATE
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = [draws(m, X, 3) for m in (model, loaded)]
    np.testing.assert_allclose(*found, atol=1e-6)
    with pytest.raises(ValueError, match="`rate` must be given"):
        MCWrapper(dense(), before_kernels="all")
    with pytest.raises(ValueError, match="`before_kernels` must be"):
        MCWrapper(dense(), rate=0.1, before_kernels="some")


class Own(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2.0 * super().call(x)


@pytest.mark.parametrize(
    "copy", [tfpbnn.to_variational, lambda m: tfpbnn.mc_dropout(m, rate=0.1)]
)
def test_code_of_a_models_own_is_not_left_out(copy):
    with pytest.raises(TypeError, match="`model` must be a Functional or"):
        copy(Own([keras.Input((4,)), dense(), dense()]))
