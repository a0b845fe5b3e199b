"""What the server computed arrives, by either protocol."""

import json
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.client import models
from tests.client.conftest import PROTOCOLS, needs_grpc
from tfpbnn import likelihoods
from tfpbnn.client import TFServingClient, results

X = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
OUTPUTS = np.einsum("bi,sio->sbo", X, models.KERNELS)  # [S, B, 2]
NORMAL = tfpbnn.prediction.RegressionPredictive(OUTPUTS, likelihoods.Normal())
CLASSES = tfpbnn.prediction.ClassificationPredictive(
    OUTPUTS, likelihoods.Categorical()
)
YES_NO = tfpbnn.prediction.ClassificationPredictive(
    OUTPUTS, likelihoods.Bernoulli()
)


@pytest.fixture(params=PROTOCOLS)
def client(request, core, start):
    url = start(request.param, core).url
    with TFServingClient(url, "bnn", quantiles=models.LEVELS) as client:
        yield client


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_regression(client):
    p = client.predict(X)
    assert isinstance(p, tfpbnn.Predictive)
    for name in ("mean", "epistemic_variance", "aleatoric_variance", "stddev"):
        assert_close(getattr(p, name), getattr(NORMAL, name))
    assert (len(p), p.num_samples, p.draws) == (5, models.S, "marginal")
    assert p.rmse(X[:, 0]) == pytest.approx(NORMAL.rmse(X[:, 0]), rel=1e-5)
    assert_close(p[1:3].mean, NORMAL.mean[1:3])
    assert "4 draws" in repr(p)


def test_quantiles_are_those_of_the_export(client):
    p = client.predict(X)
    low, high = p.interval(0.9)
    assert_close(low, NORMAL.mean - 1.645 * NORMAL.stddev)
    assert_close(high, NORMAL.mean + 1.645 * NORMAL.stddev)
    assert_close(p[[2]].quantile([0.5, 0.95])[0], NORMAL.mean[[2]])
    with pytest.raises(ValueError, match=r"levels \[0.05, 0.5, 0.95\]"):
        p.quantile(0.1)
    with pytest.raises(ValueError, match="signature `samples`"):
        p.sample(3)


def test_draws(client):
    client.likelihood = likelihoods.Normal()
    p = client.predict(X, signature="samples")
    assert_close(p.outputs, OUTPUTS)
    assert p.num_samples == models.S
    assert_close(p.interval(0.8), NORMAL.interval(0.8))
    client.likelihood = None
    assert p.draws == "marginal"
    with pytest.raises(ValueError, match="`likelihood` must be what"):
        client.predict(X, signature="samples")


@pytest.mark.parametrize("name", ["classes", "yes_no"])
def test_classification(client, name):
    expected = {"classes": CLASSES, "yes_no": YES_NO}[name]
    p = client.predict(X, signature=name)
    assert type(p.likelihood) is type(expected.likelihood)
    for part in (
        "probabilities",
        "labels",
        "predictive_entropy",
        "expected_entropy",
        "mutual_information",
    ):
        assert_close(getattr(p, part), getattr(expected, part))
    # The server does not say these.
    assert np.all(np.isnan(p.variation_ratio))
    assert np.all(np.isnan(p.epistemic_variance))
    assert p.accuracy(expected.labels) == 1.0


def test_one_pass(client):
    kernel = models.KERNELS.mean(0)
    outputs = (X @ kernel)[np.newaxis]
    p = client.predict(X, signature="deterministic")
    expected = type(NORMAL)(outputs, NORMAL.likelihood, "mean")
    assert_close(p.mean, expected.mean)
    assert_close(p.variance, expected.variance)
    assert (p.num_samples, p.draws) == (1, "mean")
    q = client.predict(X, signature="one_pass_classes")
    expected = type(CLASSES)(outputs, CLASSES.likelihood, "mean")
    assert_close(q.probabilities, expected.probabilities)
    assert_close(q.expected_entropy, expected.predictive_entropy)
    assert_close(q.variation_ratio, np.zeros(5))


def test_several_outputs(client):
    p = client.predict(X, signature="several")
    assert set(p) == {"kind", "price"}
    assert_close(p["price"].variance, NORMAL.variance)
    assert_close(p["kind"].mutual_information, CLASSES.mutual_information)
    client.likelihood = likelihoods.Normal()
    with pytest.raises(ValueError, match="`likelihood` must be a dict"):
        client.predict(X, signature="several")
    # A name that ends like a summary's is an output's all the same.
    client.likelihood = {
        "price_mean": likelihoods.Normal(),
        "kind": likelihoods.Categorical(),
    }
    p = client.predict(X, signature="several_draws")
    assert_close(p["price_mean"].mean, NORMAL.mean)
    assert_close(p["kind"].probabilities, CLASSES.probabilities)


def test_seeds(client):
    one = client.predict(X, signature="seeded", seed=3)
    assert_close(one.mean, NORMAL.mean + 3)
    each = client.predict(X, signature="seeded", seed=np.arange(5))
    assert_close(each.mean, NORMAL.mean + np.arange(5)[:, np.newaxis])
    p = client.predict(X, signature="dynamic", num_samples=9, seed=2)
    assert_close(p.mean, OUTPUTS[0, :, :1] + 209)
    assert p.num_samples == 9


def test_defaults_are_left_to_grpc_servers(client):
    if client.url.startswith("grpc"):
        p = client.predict(X, signature="dynamic", seed=2)
        assert_close(p.mean, OUTPUTS[0, :, :1] + 207)
    else:
        with pytest.raises(ValueError, match=r"needs .'num_samples'. too"):
            client.predict(X, signature="dynamic", seed=2)


def test_strings_and_several_inputs(client):
    x = {"word": [["Bär"], [b"\xff\xfe"], [""]], "number": [[1], [2], [3]]}
    p = client.predict(x, signature="words")
    np.testing.assert_array_equal(p.mean[:, 0], [5, 4, 3])


def test_nan_and_infinity_pass(client):
    """JSON has no words for them; TensorFlow Serving has."""
    x = X.copy()
    x[1, 0], x[2, 1] = np.nan, np.inf
    p = client.predict(x, signature="deterministic")
    expected = x @ models.KERNELS.mean(0)[:, :1]
    assert np.isnan(expected[1])
    assert np.isinf(expected[2])
    assert_close(p.mean, expected)


def test_half_precision(client):
    if client.url.startswith("http"):
        with pytest.raises(ValueError, match=r"no half .* Use gRPC"):
            client.predict(X, signature="half")
    else:
        p = client.predict(X, signature="half")
        expected = client.predict(X, signature="deterministic").mean
        np.testing.assert_allclose(p.mean, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("given", ["float64", "float16", "bfloat16", "int64"])
@pytest.mark.parametrize("taken", ["float16", "bfloat16"])
def test_half_precision_of_inputs(taken, given, client):
    x = tf.cast(np.round(X), given)
    signature = f"of_{taken}"
    if client.url.startswith("http"):
        with pytest.raises(ValueError, match=r"no half .* Use gRPC"):
            client.predict(x, signature=signature)
    else:
        p = client.predict(x, signature=signature)
        expected = np.round(X) @ models.KERNELS.mean(0)[:, :1]
        assert_close(p.mean, expected)


def test_numbers_that_half_precision_lacks_are_refused(client):
    if client.url.startswith("http"):
        pytest.skip("it has no half precision")
    with pytest.raises(ValueError, match=r"`features` .* too large"):
        client.predict(np.full([1, 3], 1e6), signature="of_float16")
    with pytest.raises(ValueError, match=r"`features` must be float16"):
        client.predict(np.array([["a", "b", "c"]]), signature="of_float16")


def test_bfloat16_is_taken_for_float32(client):
    x = tf.cast(np.round(X), "bfloat16")
    assert_close(client.predict(x).mean, client.predict(np.round(X)).mean)


@pytest.mark.parametrize("wrong", [None, 1, float("nan")])
def test_words_are_words(client, wrong):
    x = {"word": np.array([["a"], [wrong]], object), "number": [[1], [2]]}
    with pytest.raises(ValueError, match=r"`word` must be string.* Received"):
        client.predict(x, signature="words")


def test_metadata_and_status(client):
    found = client.metadata()
    assert (found.name, found.version, found.num_samples) == ("bnn", 1, 4)
    signature = found.signatures["serving_default"]
    assert signature.inputs["features"].shape.as_list() == [None, 3]
    assert signature.outputs["quantiles"].shape.as_list() == [None, 3, 1]
    assert client.status() == {1: "AVAILABLE"}


@needs_grpc
def test_both_protocols_give_the_same_numbers(core, start):
    found = []
    for protocol in ("rest", "grpc"):
        url = start(protocol, core).url
        with TFServingClient(url, "bnn", version=1) as client:
            found.append(client.predict(X).mean)
    np.testing.assert_array_equal(*found)


def test_rows_of_json_as_curl_sends_them(core, start):
    """The stand-in's row format, that of Vertex AI and of docs/serving.md."""
    body = json.dumps({"instances": X.tolist()}).encode()
    request = urllib.request.Request(
        f"{start('rest', core).url}/v1/models/bnn/labels/stable:predict", body
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        rows = json.load(answer)["predictions"]
    assert_close([row["mean"] for row in rows], NORMAL.mean)


SETS = {"groups": ["a", "b", "a", "b", "a"], "uniforms": [0.1] * 5}


def test_conformal_sets(client):
    """What sets are asked with is an argument, as of `sets`."""
    p = client.predict(X, signature="sets", **SETS)
    expected = models.sets_of(CLASSES.probabilities, SETS["groups"], 0.1)
    assert p.conformal["sets"].dtype == bool
    np.testing.assert_array_equal(p.conformal["sets"], expected)
    assert_close(p.probabilities, CLASSES.probabilities)
    part = p[[1, 4]].conformal["sets"]
    np.testing.assert_array_equal(part, expected[[1, 4]])
    one = client.predict(X, signature="sets", groups="b", uniforms=0.5)
    expected = models.sets_of(CLASSES.probabilities, ["b"] * 5, 0.5)
    np.testing.assert_array_equal(one.conformal["sets"], expected)
    assert not client.predict(X).conformal


BAD_SETS = {
    "unknown": (
        {**SETS, "groups": ["a", "c", "a", "b", "z"]},
        r"`groups` must be some of those .*others in the rows \[1, 4\]",
    ),
    "none": ({}, "needs .*'conformal_groups', 'conformal_uniforms'"),
    "too few": ({**SETS, "groups": ["a", "b"]}, "one for each of the 5 rows"),
    "numbers": ({**SETS, "groups": [1, 2, 1, 2, 1]}, "must be string"),
    "weights": (
        {**SETS, "sample_weight": 1.0},
        "`conformal_sample_weight` is an input of the signatures with conf",
    ),
    "by output": (
        {**SETS, "groups": {"kind": "a"}},
        "`kind_conformal_groups` is an input",
    ),
}


@pytest.mark.parametrize("name", BAD_SETS)
def test_bad_arguments_of_sets(name, client):
    given, words = BAD_SETS[name]
    with pytest.raises(ValueError, match=words):
        client.predict(X, signature="sets", **given)


def test_conformal_sets_of_several_outputs(client):
    weights = {"price": np.arange(5.0)}
    p = client.predict(X, signature="several_sets", sample_weight=weights)
    assert not p["kind"].conformal
    ends = p["price"].conformal
    half = np.arange(5.0)[:, np.newaxis]
    assert_close(ends["lower"], NORMAL.mean - half)
    assert_close(ends["upper"], NORMAL.mean + half)
    assert_close(
        p["price"].rescale(2.0, 1.0).conformal["lower"], 2 * ends["lower"] + 1
    )


def test_rows_without_a_prediction_rule_no_label_out():
    nan = np.full((2, 3), np.nan, "float32")
    kinds = ["predictive_entropy", "expected_entropy", "mutual_information"]
    outputs = {"probabilities": nan, "conformal_sets": nan}
    outputs |= dict.fromkeys(kinds, nan[:, 0])
    p = results.predictive(outputs, None, (), 4)
    assert p.conformal["sets"].all()


@pytest.mark.parametrize("prefix", ["", "price_"])
def test_conformal_intervals_are_no_draws(prefix):
    """What a server says beside the moments leaves these as they are."""
    kinds = ["mean", "variance", "epistemic_variance", "aleatoric_variance"]
    kinds += ["conformal_lower", "conformal_upper"]
    outputs = {
        f"{prefix}{kind}": np.full((3, 1), number, "float32")
        for number, kind in enumerate(kinds, 1)
    }
    p = results.predictive(outputs, None, (), 4)
    np.testing.assert_array_equal(p.mean, np.ones((3, 1)))
    np.testing.assert_array_equal(p.aleatoric_variance, np.full((3, 1), 4))
