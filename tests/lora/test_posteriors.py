"""Posteriors over adapters from ordinary training: Laplace-LoRA, IVON-LoRA."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh, hub
from tests.lora.models import LABELS, LOSS
from tfpbnn import lora

FRESH = """
import sys, keras, numpy, tfpbnn
posterior = keras.saving.load_model(sys.argv[1])
x, expected = map(numpy.load, sys.argv[2:])
found = tfpbnn.predict(posterior, x, 3, seed=0, verbose=0).outputs
numpy.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
"""


X = np.random.default_rng(6).normal(size=(48, 6)).astype("float32")


@functools.cache
def network():
    inputs = keras.Input((6,))
    h = keras.layers.Dense(8, activation="tanh", name="hidden")(inputs)
    outputs = keras.layers.Dense(3, activation="softmax", name="head")(h)
    return keras.Model(inputs, outputs)


@functools.cache
def fitted(method):
    """The trained model, and its posterior."""
    adapted = lora.add_lora(
        network(), 2, method="deterministic", also_train="head"
    )
    is_ivon = method == "ivon"
    optimizer = (
        tfpbnn.optimizers.IVON(0.05, hess_init=0.5)
        if is_ivon
        else keras.optimizers.Adam(0.01)
    )
    adapted.compile(optimizer, LOSS)
    adapted.fit(X, LABELS, epochs=2, verbose=0)
    if is_ivon:
        return adapted, optimizer.posterior(adapted)
    return adapted, tfpbnn.laplace(adapted, X, LABELS, "all", "kron")


def draws(posterior, x=X):
    return tfpbnn.predict(posterior, x, 3, seed=0, verbose=0).outputs


@pytest.mark.parametrize("method", ["laplace", "ivon"])
def test_adapters_have_the_posterior(method, tmp_path):
    adapted, posterior = fitted(method)
    trained = [v.path for v in adapted.trainable_variables]
    assert [v.path for v in posterior.random_weights] == trained
    np.testing.assert_allclose(
        posterior.predict(X, verbose=0),
        adapted.predict(X, verbose=0),
        rtol=1e-5,
    )
    found = draws(posterior)
    assert np.all(np.std(found, axis=0).max(axis=-1) > 1e-4)
    np.testing.assert_allclose(np.sum(found, axis=-1), 1, rtol=1e-4)
    path = tmp_path / "adapters.npz"  # of the mean
    lora.save_adapters(posterior.network, path)
    again = lora.load_adapters(network(), path)
    np.testing.assert_allclose(
        again.predict(X, verbose=0),
        posterior.predict(X, verbose=0),
        rtol=1e-5,
    )


def test_a_fresh_process_loads_it(tmp_path):
    _, posterior = fitted("laplace")
    paths = [str(tmp_path / n) for n in ("p.keras", "x.npy", "y.npy")]
    posterior.save(paths[0])
    np.save(paths[1], X)
    np.save(paths[2], draws(posterior))
    fresh.run(FRESH, *paths)


def test_a_served_posterior_predicts_the_same(tmp_path):
    _, posterior = fitted("laplace")
    folder = str(tmp_path / "served")
    tfpbnn.export(posterior, folder, signatures=["deterministic"])
    served = tf.saved_model.load(folder).signatures["deterministic"]
    found = served(tf.constant(X[:4]))["probabilities"]
    expected = posterior.predict(X[:4], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_encoders_have_kronecker_factors_of_their_adapters():
    plain, x = hub.classifier(num_layers=1), hub.inputs(8)
    adapted = lora.add_lora(
        plain, 2, method="deterministic", also_train="logits"
    )
    adapted.compile(keras.optimizers.Adam(0.05), LOSS)
    y = np.arange(8) % 3
    adapted.fit(x, y, verbose=0)
    posterior = tfpbnn.laplace(adapted, x, y, ["query", "value"])
    # None goes row by row, since products tell what all rows do.
    assert posterior.by_row == ()
    assert len(posterior.random_weights) == 4
    assert all(np.min(v) > 0 for v in posterior.variances())
