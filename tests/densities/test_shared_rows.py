"""A density of rows in shards is that of all rows, with its gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn.densities.problem import Problem

RNG = np.random.default_rng(0)
X = RNG.normal(size=(13, 4, 3)).astype("float32")
X[np.arange(4) >= RNG.integers(1, 5, 13)[:, None]] = 0.0  # padding
Y = {"steps": X[:, :, :1], "label": RNG.integers(0, 3, 13)}
WEIGHTS = {
    "steps": RNG.uniform(0, 2, (13, 4)).astype("float32"),
    "label": RNG.uniform(0, 2, 13).astype("float32"),
}
LOSS = {
    "steps": tfpbnn.likelihoods.Normal(scale=0.5),
    "label": tfpbnn.likelihoods.Categorical(),
}


def network():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4, 3))
    hidden = keras.layers.Dense(3, activation="tanh")
    h = hidden(keras.layers.Masking()(inputs))
    frozen = keras.layers.Dense(3, activation="tanh", trainable=False)
    label = keras.layers.Dense(3)(keras.layers.Flatten()(hidden(inputs)))
    outputs = {"steps": keras.layers.Dense(1)(frozen(h)), "label": label}
    return keras.Model(inputs, outputs)


def problem(**kwargs):
    return Problem(network(), X, Y, LOSS, "normal", True, WEIGHTS, **kwargs)


def value_and_slope(density, vectors):
    def run(vectors, data):
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            value = density(vectors, data)
        return value, tape.gradient(value, vectors)

    function = density.compiler.compiled(run)
    data = keras.tree.map_structure(tf.constant, density.data)
    return function(tf.constant(vectors), data)


def test_shards_add_up_to_all_rows():
    whole, shared = problem(), problem(row_shards=3)
    vectors = RNG.normal(size=(1, whole.parameters.size)).astype("float32")
    expected = value_and_slope(whole.density, vectors)
    found = value_and_slope(shared.density, vectors)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-3)
    assert np.abs(expected[1]).max() > 1


def test_more_shards_than_rows():
    with pytest.raises(ValueError, match="`row_shards` must be at most"):
        problem(row_shards=14)
