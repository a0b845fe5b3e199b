"""Reports from the field: copies that were another function."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import ensembles

N = tfpbnn.likelihoods.Normal
COLOURS = np.array([["red"], ["green"], ["blue"]])


def mean(model, x):
    return tfpbnn.predict(model, x, draws="mean", verbose=0).mean


def normalized():
    """Data far from 0, and a network whose Normalization is adapted to it."""
    x = np.random.default_rng(0).normal(50, 10, (64, 3)).astype("float32")
    norm = keras.layers.Normalization()
    norm.adapt(x)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            norm,
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", N())
    return model, x


def test_copies_normalization(tmp_path):
    """Every copy of the network saw data of mean 0 and variance 1."""
    plain, x = normalized()
    right = plain.predict(x, verbose=0)[:, :1]
    shared = tfpbnn.to_variational(plain, "last", copy=False)
    ensemble = ensembles.DeepEnsemble(plain, num_members=2)
    ensemble.set_member(0, plain)
    of_ensemble = tfpbnn.predict(ensemble, x, verbose=0).draw_means[0]
    back = tfpbnn.to_deterministic(shared)
    bayes = tfpbnn.to_variational(plain)
    bayes.fit(x, x[:, :1] / 10, epochs=2, verbose=0)
    bayes.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(mean(again, x), mean(bayes, x), rtol=1e-5)
    for found in (
        mean(shared, x),
        mean(tfpbnn.to_variational(plain), x),
        mean(tfpbnn.mc_dropout(plain), x),
        mean(tfpbnn.prune(shared, keep=1.0), x),
        back.predict(x, verbose=0)[:, :1],
        ensemble.members[0].predict(x, verbose=0)[:, :1],
        of_ensemble,
    ):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convert", [tfpbnn.to_variational, tfpbnn.mc_dropout])
def test_copies_lookup(tmp_path, convert):
    """Copies' lookups were empty, and exports failed at each request."""
    lookup = keras.layers.StringLookup(output_mode="one_hot")
    lookup.adapt(COLOURS)
    inputs = keras.Input((1,), dtype="string", name="colour")
    x = keras.layers.Dense(8, "relu")(lookup(inputs))
    x = keras.layers.Dense(2)(keras.layers.Dropout(0.2)(x))
    plain = keras.Model(inputs, x)
    plain.compile("adam", N())
    right = plain.predict(tf.constant(COLOURS), verbose=0)[:, :1]
    copy = convert(plain)
    np.testing.assert_allclose(mean(copy, COLOURS), right, atol=1e-6)
    path = str(tmp_path / "1")
    tfpbnn.export(copy, path, num_samples=2)
    assert tfpbnn.lint_export(path) == []
    served = tf.saved_model.load(path).signatures["serving_default"]
    answer = served(colour=tf.constant(COLOURS))["mean"].numpy()
    assert len(np.unique(answer)) == len(COLOURS)
    copy.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(mean(again, COLOURS), right, atol=1e-6)


def tied():
    """A tagger whose last layer has the table of its embedding."""
    table = keras.layers.ReversibleEmbedding(20, 8, name="table")
    inputs = keras.Input((5,), dtype="int32")
    hidden = keras.layers.Dense(8, "tanh")(table(inputs))
    return keras.Model(inputs, table(hidden, reverse=True))


def test_copies_tied():
    """One table of an embedding and of the head became two."""
    plain = tied()
    x = np.random.default_rng(0).integers(0, 20, (8, 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    bayes = tfpbnn.to_variational(plain, keras.layers.Dense)
    for model in (bayes, tfpbnn.mc_dropout(plain, rate=0.1)):
        before = model.predict(x, verbose=0)
        model.compile(keras.optimizers.SGD(0.5), loss)
        model.fit(x, x, epochs=2, verbose=0)
        assert np.abs(model.predict(x, verbose=0) - before).max() > 0
    for model in (plain, bayes, tfpbnn.to_deterministic(bayes)):
        shapes = [tuple(v.shape) for v in model.trainable_variables]
        assert shapes.count((20, 8)) == 1
    assert tfpbnn.to_deterministic(bayes).count_params() == plain.count_params()


class Block(keras.layers.Layer):
    """One's own layer, of which Keras knows how to make its config."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(units)
        self.drop = keras.layers.Dropout(0.2)

    def call(self, x):
        return self.drop(self.dense(x))


def test_mc_dropout_own_block():
    """A layer with Keras's automatic config was a KeyError."""
    model = keras.Sequential(
        [keras.Input((4,)), Block(8), keras.layers.Dense(1)]
    )
    x = np.ones((3, 4), "float32")
    mc = tfpbnn.mc_dropout(model)
    p = tfpbnn.predict(mc, x, 20, verbose=0, likelihood=N(scale=1.0))
    right = model.predict(x, verbose=0)
    np.testing.assert_allclose(
        tfpbnn.predict(mc, x, draws="mean", likelihood=N(scale=1.0)).mean,
        right,
        atol=1e-6,
    )
    assert np.all(p.epistemic_variance > 0)


def residual(relu, add):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = relu(keras.layers.Dense(8, name="a")(inputs))
    for name in "bc":
        x = add(x, relu(keras.layers.Dense(8, name=name)(x)))
    model = keras.Model(inputs, keras.layers.Dense(2, name="d")(x))
    model.compile("adam", N())
    return model


def test_mc_dropout_operators():
    """Layers behind `a + b` had no dropout: 30 times less variance."""
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    found = []
    for relu, add in (
        (lambda t: keras.layers.ReLU()(t), lambda *t: keras.layers.Add()(t)),
        (lambda t: keras.layers.ReLU()(t), lambda a, b: a + b),
        (keras.ops.relu, lambda a, b: a + b),
    ):
        mc = tfpbnn.mc_dropout(residual(relu, add), rate=0.1)
        p = tfpbnn.predict(mc, x, num_samples=500, seed=0, verbose=0)
        found.append(p.epistemic_variance.mean())
    np.testing.assert_allclose(found, found[0], rtol=0.15)
