"""The client understands what `tfpbnn.export` writes.

Also from the real TensorFlow Serving, where there is one.
"""

import json
from concurrent import futures

import keras
import numpy as np
import pytest

import tfpbnn
from tests.client import serving
from tests.client.conftest import PROTOCOLS, needs_grpc
from tests.client.model_server import ModelServer, needs_model_server
from tfpbnn import layers, likelihoods
from tfpbnn.client import TFServingClient

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
def many(model):
    return tfpbnn.predict(model, X, 1000, seed=0)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "bnn" / "1"
    tfpbnn.export(model, path, S, quantiles=[0.1, 0.5, 0.9])
    return path


@pytest.fixture(scope="module")
def version(exported):
    return serving.Version(str(exported))


@pytest.fixture(scope="module")
def model_server(exported):
    server = ModelServer("bnn", exported.parent)
    yield server
    server.stop()


@pytest.fixture(
    params=[
        *PROTOCOLS,
        pytest.param("real rest", marks=needs_model_server),
        pytest.param("real grpc", marks=[needs_model_server, needs_grpc]),
    ]
)
def client(request, version, exported, start):
    if request.param in ("rest", "grpc"):
        core = serving.Core("bnn", {1: version})
        url = start(request.param, core).url
    else:
        server = request.getfixturevalue("model_server")
        url = server.urls[request.param.removeprefix("real ")]
    card = json.loads((exported / "model_card.json").read_text())
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


def test_fresh_draws(client, many):
    """Others in each request, within seven standard errors of the mean."""
    for signature in ("serving_default", "samples"):
        a, b = (client.predict(X, signature=signature) for _ in range(2))
        for name in ("price", "kind"):
            assert not np.array_equal(a[name].mean, b[name].mean)
            error = np.sqrt(many[name].epistemic_variance / S)
            assert np.all(np.abs(a[name].mean - many[name].mean) < 7 * error)
    assert a["price"].outputs.shape == (S, 4, 2)
    assert client.predict(X)["price"].num_samples == S


def test_seeded_answers_are_the_same_in_any_batch(client, version, start):
    alone = client.predict(X, signature="seeded", seed=range(4))
    batcher = serving.Batcher(window=0.05, multiple=8)
    core = serving.Core("bnn", {1: version}, batcher=batcher)

    def ask(i):
        row = i % 4
        x = X[row : row + 1]
        p = together.predict(x, signature="seeded", seed=row)
        return row, p["price"]

    together = TFServingClient(start("rest", core).url, "bnn")
    with together, futures.ThreadPoolExecutor(8) as pool:
        for row, p in pool.map(ask, range(24)):
            np.testing.assert_allclose(
                p.mean[0], alone["price"].mean[row], rtol=1e-5, atol=1e-6
            )
            assert p.variance[0] == pytest.approx(
                alone["price"].variance[row], rel=1e-4
            )
    assert max(map(len, batcher.sizes)) > 1
