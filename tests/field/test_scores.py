"""Reports from the field: scores of other places than Keras scores."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn

L, N = tfpbnn.layers, tfpbnn.likelihoods.Normal


def test_padding_in_scores():
    """Padded places counted: accuracy 0.715 where all labels were right."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 20, (120, 10))
    y = x % 4
    pad = np.arange(10) >= rng.integers(2, 11, (120, 1))
    x[pad], y[pad] = 0, 3
    model = tfpbnn.Sequential(
        [
            keras.layers.Embedding(20, 16, mask_zero=True),
            keras.layers.Dense(16, "tanh"),
            L.DenseFlipout(4),
        ]
    )
    loss = tfpbnn.likelihoods.Categorical()
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    model.fit(x, y, epochs=20, verbose=0)
    scores = tfpbnn.evaluate(model, x, y, num_samples=20, seed=0, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(1, abs=0.01)
    assert scores["accuracy"] == pytest.approx(1, abs=0.01)
    assert scores["nll"] < 0.1
    p = tfpbnn.predict(model, x, num_samples=20, seed=0, verbose=0)
    right = -np.log(np.take_along_axis(p.probabilities, y[..., None], -1))
    assert scores["nll"] == pytest.approx(right[~pad].mean(), rel=1e-3)


@pytest.mark.filterwarnings("ignore:.*far from 0 and 1")
def test_targets_by_name():
    """Targets by name were paired in alphabetical order: an RMSE of 20."""
    x = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    y = {"price": 10 + x[:, 0], "area": -10 + x[:, 1]}
    inputs = keras.Input((3,))
    outputs = [L.DenseFlipout(1, name=name)(inputs) for name in y]
    model = tfpbnn.Model(inputs, outputs)
    losses = {name: N(scale=1.0) for name in y}
    model.compile(keras.optimizers.Adam(0.3), losses)
    model.fit(x, y, epochs=30, verbose=0)
    by_order = tfpbnn.evaluate(model, x, list(y.values()), seed=0, verbose=0)
    by_name = tfpbnn.evaluate(model, x, y, seed=0, verbose=0)
    assert by_name == pytest.approx(by_order)
    assert by_name["price_rmse"] < 0.2


def classifier():
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = tfpbnn.Sequential([keras.Input((4,)), L.DenseFlipout(2)])
    loss = tfpbnn.likelihoods.Categorical()
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(x, y, epochs=30, verbose=0)
    return model, x, y


def test_weights_in_scores():
    """Rows of weight 0 in a dataset were scored: an accuracy of 0.49."""
    model, x, y = classifier()
    rows = np.r_[x, 0 * x], np.r_[y, 0 * y + 1], np.repeat([1.0, 0.0], 80)
    filled = tf.data.Dataset.from_tensor_slices(rows).batch(32)
    right = tfpbnn.evaluate(model, x, y, seed=0, draws="marginal", verbose=0)
    found = tfpbnn.evaluate(model, filled, seed=0, draws="marginal", verbose=0)
    assert found == pytest.approx(right, rel=1e-4)
    assert found["accuracy"] > 0.95


def test_ignored_class():
    """A label that `ignore_class` names was refused."""
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 1)).astype("float32")
    y = (x[..., 0] > 0).astype(int)
    y[:, 0] = 255
    layer = L.Conv2DFlipout(2, 1)
    model = tfpbnn.Sequential([keras.Input((6, 6, 1)), layer])
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    model.compile(keras.optimizers.Adam(0.1), loss)
    model.fit(x, y, verbose=0, epochs=5)
    found = tfpbnn.evaluate(model, x, y, seed=0, verbose=0)
    labels = tfpbnn.predict(model, x, seed=0, verbose=0).labels
    right = np.mean((labels == y)[:, 1:])
    assert found["accuracy"] == pytest.approx(right)


def test_output_without_loss():
    """A model with an output that has no loss could not predict."""
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    inputs = keras.Input((4,))
    hidden = L.DenseFlipout(8)(inputs)
    outputs = {"y": L.DenseFlipout(2)(hidden), "emb": hidden}
    model = tfpbnn.Model(inputs, outputs)
    model.compile("adam", {"y": N()})
    model.fit(x, {"y": x[:, 0]}, verbose=0)
    found = tfpbnn.predict(model, x, verbose=0)
    assert list(found) == ["y"]
    assert found["y"].mean.shape == (64, 1)
