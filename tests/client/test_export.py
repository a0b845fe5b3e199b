"""The client understands what `tfpbnn.export` writes."""

import json

import keras
import numpy as np
import pytest

import tfpbnn
from tests.client import serving
from tests.client.conftest import PROTOCOLS
from tfpbnn import layers, likelihoods
from tfpbnn.client import TFServingClient

pytestmark = pytest.mark.skipif(
    not hasattr(tfpbnn, "export"), reason="tfpbnn.export is not there yet"
)
S = 16
X = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")
LIKELIHOODS = {
    "kind": likelihoods.Categorical(),
    "price": likelihoods.Normal(),
}


@pytest.fixture(scope="module")
def model():
    """Draws of a row have the same distribution in any batch."""
    inputs = keras.Input((3,), name="features")
    hidden = layers.DenseFlipout(8, "relu", seed=1)(inputs)
    outputs = {
        "kind": layers.DenseFlipout(3, seed=2)(hidden),
        "price": layers.DenseFlipout(2, seed=3)(hidden),
    }
    model = keras.Model(inputs, outputs)
    model.compile("adam", LIKELIHOODS)
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "bnn" / "1"
    tfpbnn.export(model, path, S, quantiles=[0.1, 0.5, 0.9])
    return path


@pytest.fixture(scope="module")
def version(exported):
    return serving.Version(str(exported))


@pytest.fixture(params=PROTOCOLS)
def client(request, version, exported, start):
    card = json.loads((exported / "model_card.json").read_text())
    url = start(request.param, serving.Core("bnn", {1: version})).url
    options = {"likelihood": LIKELIHOODS, "quantiles": card["quantiles"]}
    with TFServingClient(url, "bnn", **options) as client:
        yield client


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_seeded_is_predict(client, model):
    found = client.predict(X, signature="seeded", seed=[5, 6, 5, 7])
    for row, seed in enumerate([5, 6, 5, 7]):
        x = X[row : row + 1]
        p = tfpbnn.predict(model, x, S, seed=seed, draws="marginal")
        price, kind = found["price"][row], found["kind"][row]
        assert_close(price.mean, p["price"].mean)
        assert_close(price.epistemic_variance, p["price"].epistemic_variance)
        assert_close(price.interval(0.8), p["price"].interval(0.8))
        assert_close(kind.probabilities, p["kind"].probabilities)
        assert_close(kind.mutual_information, p["kind"].mutual_information)


def test_deterministic_is_the_posterior_mean(client, model):
    found = client.predict(X, signature="deterministic")
    p = tfpbnn.predict(model, X, draws="mean")
    assert_close(found["price"].mean, p["price"].mean)
    assert_close(found["price"].variance, p["price"].variance)
    assert_close(found["kind"].probabilities, p["kind"].probabilities)
    assert_close(found["kind"].expected_entropy, p["kind"].expected_entropy)


def test_fresh_draws(client, model):
    """Six standard errors: false alarms below 1e-7."""
    many = tfpbnn.predict(model, X, 2000, seed=0)
    for signature in ("serving_default", "samples"):
        a, b = (client.predict(X, signature=signature) for _ in range(2))
        for name in ("price", "kind"):
            assert np.all(a[name].mean != b[name].mean)
            error = np.sqrt(many[name].epistemic_variance / S)
            assert np.all(np.abs(a[name].mean - many[name].mean) < 6 * error)
    assert a["price"].outputs.shape == (S, 4, 2)
    assert client.predict(X)["price"].num_samples == S
