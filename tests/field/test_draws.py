"""Reports from the field: draws that were not what is random in a model."""

import concurrent.futures

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import tfpbnn
from tfpbnn import ensembles

L, N = tfpbnn.layers, tfpbnn.likelihoods.Normal


class Noise(keras.layers.Layer):
    """One's own noise, unseeded."""

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x))


def test_own_noise():
    """The noise of a user's layer was drawn once: a variance of 0.06."""
    weights = np.linspace(0.1, 1, 10).reshape(10, 1)
    layer = L.DenseReparameterization(1)
    model = keras.Sequential([keras.Input((10,)), Noise(), layer])
    layer.kernel_posterior.loc.assign(weights)
    model.compile("adam", "mse")
    x = np.ones((20, 10), "float32")
    p = tfpbnn.predict(model, x, num_samples=500, seed=0, verbose=0)
    scale = float(np.mean(layer.kernel_posterior.scale))
    right = np.sum(weights**2) + 20 * scale**2
    found = p.epistemic_variance.mean()
    assert found == pytest.approx(right, rel=0.1)


@pytest.mark.parametrize("rows", [2, 1])
def test_stateful(rows):
    """Draws ran on from each other's state, and one row crashed."""
    exact = tfpbnn.families.MeanFieldNormal(
        untransformed_scale_initializer=keras.initializers.Constant(-12.0)
    )
    layer = L.LSTMReparameterization(
        1,
        kernel_posterior=exact,
        recurrent_posterior=exact,
        kernel_initializer="ones",
        recurrent_initializer="ones",
        stateful=True,
    )
    inputs = keras.Input(batch_shape=(rows, 1, 1))
    model = keras.Sequential([inputs, layer])
    model.compile("sgd", N(scale=0.1))
    x = np.ones((rows, 1, 1), "float32")
    plain = keras.layers.LSTM(
        1,
        kernel_initializer="ones",
        recurrent_initializer="ones",
        stateful=True,
    )
    for _ in range(2):  # the second starts where the first one ended
        found = tfpbnn.predict(model, x, num_samples=4, seed=0, verbose=0)
        right = np.broadcast_to(plain(x), found.outputs.shape)
        np.testing.assert_allclose(found.outputs, right, atol=1e-3)


def test_threads(tmp_path):
    """Requests of several threads to a loaded model were KeyErrors."""
    inner = keras.layers.LSTM(4, recurrent_dropout=0.3)
    layers = [keras.Input((None, 3)), inner, keras.layers.Dense(2)]
    plain = keras.Sequential(layers)
    plain.compile("adam", N())
    tfpbnn.mc_dropout(plain).save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")

    def ask(model, draws):
        p = tfpbnn.predict(model, x, 4, seed=1, draws=draws, verbose=0)
        return p.outputs

    alone, served = (
        keras.models.load_model(tmp_path / "model.keras") for _ in range(2)
    )
    right = {draws: ask(alone, draws) for draws in ("coherent", "mean")}
    asked = [*right] * 3
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda draws: ask(served, draws), asked))
    for draws, outputs in zip(asked, found, strict=True):
        np.testing.assert_allclose(outputs, right[draws], atol=1e-6)


X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")


def net(rate):
    drop = [keras.layers.Dropout(rate)] if rate else []
    last = keras.layers.Dense(2)
    layers = [keras.Input((3,)), keras.layers.Dense(8, "relu"), *drop, last]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.05), N())
    return model


def fitted(callback, rate):
    model = net(rate)
    model.fit(X, X[:, :1], epochs=6, callbacks=[callback], verbose=0)
    return callback


POSTERIORS = {
    "mc_dropout": lambda rate: tfpbnn.mc_dropout(net(rate or 0.1)),
    "swag": lambda rate: fitted(ensembles.SWAG(0, rank=3), rate).posterior,
    "snapshots": lambda rate: (
        fitted(ensembles.SnapshotEnsemble(3, 0.05), rate).posterior
    ),
    "deep": lambda rate: ensembles.DeepEnsemble(
        lambda: net(rate), num_members=3
    ),
}


@pytest.mark.parametrize("rate", [0.0, 0.2])
@pytest.mark.parametrize("kind", POSTERIORS)
def test_posterior_inside_a_model(kind, rate):
    """Behind preprocessing, a posterior had no uncertainty any more."""
    inner = POSTERIORS[kind](rate)
    raw = keras.Input((3,), name="raw")
    full = keras.Model(raw, inner(keras.layers.Rescaling(0.5)(raw)))
    given = {"seed": 0, "num_samples": 20, "verbose": 0}
    right = tfpbnn.predict(inner, 0.5 * X, **given).epistemic_variance
    found = tfpbnn.predict(full, X, likelihood=N(), **given).epistemic_variance
    assert right.mean() > 0
    np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-6)


def sparse_net(cls):
    model = cls([keras.Input((30,), sparse=True), L.DenseFlipout(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def test_sparse_inputs():
    """Sparse matrices were refused, in `fit` and in `predict`."""
    x = scipy.sparse.random(
        60, 30, density=0.1, format="csr", dtype="float32", rng=0
    )
    y = np.random.default_rng(0).integers(0, 3, 60)
    model = sparse_net(tfpbnn.Sequential)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    tensor = tf.sparse.from_dense(x.toarray())
    batches = tf.data.Dataset.from_tensor_slices(tensor).batch(20)
    given = {"seed": 0, "num_samples": 5, "verbose": 0, "draws": "coherent"}
    right = tfpbnn.predict(model, x, **given).outputs
    assert right.shape == (5, 60, 3)
    found = tfpbnn.predict(model, batches, **given).outputs
    np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("draws", ["coherent", "marginal", "mixed"])
def test_same_seed_other_number(draws):
    """A row's numbers hung on the rows beside it; they do for "auto" only."""
    relu = L.DenseFlipout(16, activation="relu")
    model = tfpbnn.Sequential([keras.Input((3,)), relu, L.DenseFlipout(2)])
    if draws == "marginal":
        model = tfpbnn.Sequential([keras.Input((3,)), L.DenseFlipout(2)])
    model.compile("adam", N())
    given = {"seed": 0, "num_samples": 20, "verbose": 0, "draws": draws}
    few, all_rows = (tfpbnn.predict(model, x, **given) for x in (X[:10], X))
    np.testing.assert_allclose(few.mean, all_rows.mean[:10], atol=1e-5)
    automatic = tfpbnn.predict(model, X, seed=0, verbose=0)
    assert automatic.draws in ("coherent", "marginal", "mixed")
