"""What a wrapped layer's own calls, and other threads, see of the noise."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tfpbnn import layers, random

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
LIKELIHOOD = tfpbnn.likelihoods.Normal(scale=1.0)


class Block(keras.layers.Layer):
    """A user's layer that holds dropout in many ways."""

    def __init__(self):
        super().__init__()
        x = keras.Input((None, 3))
        drop = keras.layers.SpatialDropout1D(0.3)
        self.model = keras.Model(x, keras.layers.Add()([drop(x), x]))
        self.stack = keras.Sequential(
            [
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.4),
                keras.layers.Dense(3),
            ]
        )
        self.parts = [{"drop": keras.layers.GaussianNoise(0.1)}]
        self.attention = keras.layers.MultiHeadAttention(1, 3, dropout=0.2)
        self.chosen = self._first

    def _first(self, x):
        return self.parts[0]["drop"](x)

    def call(self, x, training=False):
        return self.steps(x, training)[-1]

    def steps(self, x, training=False):
        a = self.model(x, training=training)
        b = self.stack(a, training=training)
        c = self.chosen(b)
        return a, b, c, self.attention(c, c)


def test_dropout_in_all_that_a_layer_holds():
    seen = []

    class Watched(Block):
        def call(self, x, training=False):
            seen.append(self.steps(x, training))
            return seen[-1][-1]

    layer = layers.MCWrapper(Watched())
    layer(X)
    x = np.ones_like(X)
    seen.clear()
    for key in (random.as_key(0), random.as_key(1), None):
        with random.draw_scope(key):
            y = layer(x)
    for one, other, mean in zip(*seen, strict=True):
        assert np.any(one != other)
        assert np.any(one != mean)
    np.testing.assert_allclose(y, layer.layer(x), atol=1e-6)


def test_a_layer_stays_as_it_is():
    inner = Block()
    layer = layers.MCWrapper(inner)
    layer(X)
    parts = [inner, inner.model, inner.stack, *inner.stack.layers]
    before = [dict(vars(part)) for part in parts]
    with random.draw_scope(random.as_key(0)):
        layer(X)
    for part, attributes in zip(parts, before, strict=True):
        assert vars(part).keys() == attributes.keys()
        assert all(vars(part)[k] is v for k, v in attributes.items())


def make_served(path):
    keras.utils.set_random_seed(0)
    query = keras.Input((5, 3))
    h = keras.layers.LSTM(4, recurrent_dropout=0.3, return_sequences=True)(
        query
    )
    h = keras.layers.Attention(dropout=0.3)([h, h])
    h = keras.layers.Bidirectional(keras.layers.GRU(3, dropout=0.3))(h)
    model = keras.Model(query, keras.layers.Dense(2)(h))
    model.compile("adam", LIKELIHOOD)
    tfpbnn.mc_dropout(model).save(path)


def ask(model, how):
    return tfpbnn.predict(
        model, X, num_samples=6, seed=1, draws=how, verbose=0
    ).outputs


def test_threads_get_what_one_gets(tmp_path):
    """Of a model just loaded, whose functions are not traced yet, and after."""
    path = tmp_path / "model.keras"
    make_served(path)
    alone = keras.models.load_model(path)
    kinds = ("coherent", "mean")
    right = {how: ask(alone, how) for how in kinds}
    served = keras.models.load_model(path)
    with ThreadPoolExecutor(4) as pool:
        for _ in ("cold", "warm"):
            asked = [kinds[i % 2] for i in range(8)]
            found = pool.map(lambda how: ask(served, how), asked)
            for how, outputs in zip(asked, found, strict=True):
                np.testing.assert_allclose(outputs, right[how], atol=1e-6)


def test_weights_are_trained_through_a_stand_in():
    layer = layers.MCWrapper(keras.layers.LSTM(2, dropout=0.2))
    layer(X)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, training=True))
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert len(gradients) == 3
    assert all(g is not None for g in gradients)
