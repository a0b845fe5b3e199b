"""What `export` writes beside the graph, and what it refuses."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.ensembles.averaging.iterates import feed
from tests.exporting import table
from tests.exporting.runtimes import c_runtime
from tests.statistics import assert_correlation, assert_moments
from tfpbnn import ensembles, layers, likelihoods
from tfpbnn.exporting.signatures import warmups


@pytest.fixture(scope="module")
def entry():
    return table.variational()


def export(model, path, **kwargs):
    kwargs = {"signatures": ["deterministic"]} | kwargs
    tfpbnn.export(model, path, 4, **kwargs)


def test_the_card_says_what_it_is(entry, tmp_path):
    export(entry.model, tmp_path / "1", card={"calibration": {"ece": 0.01}})
    card = json.loads((tmp_path / "1" / "model_card.json").read_text())
    assert card["calibration"] == {"ece": 0.01}
    assert card["num_samples"] == 4
    assert card["method"]["random_layers"]["DenseFlipout"] == 1
    likelihood = keras.saving.deserialize_keras_object(
        next(iter(card["likelihood"].values()))
    )
    assert isinstance(likelihood, likelihoods.Normal)
    assert card["versions"]["tensorflow"] == tf.__version__
    interface = card["signatures"]["deterministic"]
    assert interface["inputs"]["features"]["shape"] == [None, 3]


def test_the_card_knows_how_many_examples_there_were(tmp_path):
    inputs = keras.Input((3,), name="features")
    model = tfpbnn.Sequential([inputs, layers.DenseFlipout(2)])
    table.compiled(model).fit(np.ones([20, 3]), np.ones(20), verbose=0)
    both = ensembles.DeepEnsemble(model, 2)  # has a weight for each member
    both.fit(np.ones([20, 3]), np.ones(20), verbose=0)
    for number, posterior in enumerate((model, both)):
        export(posterior, path := tmp_path / str(number))
        card = json.loads((path / "model_card.json").read_text())
        assert card["training_examples"] == 20


def test_versions_appear_whole_or_not_at_all(entry, tmp_path, monkeypatch):
    path = tmp_path / "wine" / "1"
    export(entry.model, path)
    before = sorted(f.name for f in path.rglob("*"))
    with pytest.raises(FileExistsError, match="`path` must be new"):
        export(entry.model, path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        export(entry.model, path, card={"x": object()}, overwrite=True)
    assert sorted(f.name for f in path.rglob("*")) == before
    export(entry.model, path, overwrite=True, warmup=table.X)
    assert (path / "assets.extra" / "tf_serving_warmup_requests").is_file()
    assert [f.name for f in path.parent.iterdir()] == ["1"]


def test_warm_up_requests_can_be_played(entry, tmp_path):
    path = tmp_path / "wine" / "1"
    x = table.X[:2].astype("float64")
    export(entry.model, path, signatures=["seeded", "samples"], warmup=x)
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(file))]
    inputs = {"features": table.X[:2]}
    seeded = inputs | {"seed": np.zeros(2, np.int64)}
    assert records == [
        warmups.prediction_log("wine", "seeded", seeded),
        warmups.prediction_log("wine", "samples", inputs),
    ]
    runtime = c_runtime()
    runtime.run(path, "seeded", **seeded)


def test_warm_up_requests_are_those_of_the_api():
    name = "tensorflow_serving.apis.prediction_log_pb2"
    api = pytest.importorskip(name, reason='needs the extra "serving"')
    inputs = {"a": np.ones([200, 3], "float32"), "b": np.array(["x", "y"])}
    log = api.PredictionLog()
    log.ParseFromString(warmups.prediction_log("wine", "seeded", inputs))
    request = log.predict_log.request
    assert request.model_spec.name == "wine"
    assert request.model_spec.signature_name == "seeded"
    assert sorted(request.inputs) == ["a", "b"]
    np.testing.assert_array_equal(
        tf.make_ndarray(request.inputs["a"]), inputs["a"]
    )


def test_the_number_of_draws_can_be_an_input(entry, tmp_path):
    tfpbnn.export(
        entry.model, tmp_path / "1", 4, signatures=["dynamic"], quantiles=()
    )
    runtime = c_runtime()

    def ask(count, seed):
        return runtime.run(
            tmp_path / "1",
            "dynamic",
            features=table.X,
            num_samples=np.array(count, np.int32),
            seed=np.array(seed),
        )["mean"]

    p = tfpbnn.predict(
        entry.model, table.X, 7, seed=5, draws="coherent", verbose=0
    )
    np.testing.assert_allclose(ask(7, 5), p.mean, rtol=1e-3, atol=1e-5)
    for count in (0, -3, 1001):
        message = rf"`num_samples` must be from 1 to 1000. Received:.*{count}"
        with pytest.raises(RuntimeError, match=message):
            ask(count, 5)
    assert np.abs(ask(1, -1) - ask(1, -1)).max() > 1e-3
    found = tfpbnn.lint_export(tmp_path / "1")
    assert any("seed is a scalar" in line for line in found)


def test_an_ensemble_has_as_many_draws_as_members(tmp_path):
    model = table.deep_ensemble().model
    export(model, tmp_path / "1", signatures=["dynamic"])
    function = tf.saved_model.load(str(tmp_path / "1")).signatures["dynamic"]

    def ask(count):
        x, seed = tf.constant(table.X), tf.constant(-1, tf.int64)
        return function(features=x, num_samples=tf.constant(count), seed=seed)

    p = tfpbnn.predict(model, table.X, verbose=0)
    np.testing.assert_allclose(ask(3)["mean"], p.mean, rtol=1e-4, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 1 to 3"):
        ask(4)


def dense(units=2):
    inputs = keras.Input((3,), name="features")
    return keras.Sequential([inputs, layers.DenseFlipout(units)])


def nested():
    inputs = keras.Input((3,), name="features")
    y = layers.DenseFlipout(2)(inputs)
    return table.compiled(keras.Model(inputs, {"a": y, "b": [y, y]}))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"draws": "some"}, "`draws` must be one of"),
        ({"format": "torch"}, "`format` must be one of"),
        ({"format": "onnx"}, 'needs draws="fixed"'),
        ({"signatures": []}, "`signatures` must be some of"),
        ({"signatures": "samples"}, "`signatures` must be some of"),
        ({"signatures": ["seeded"], "draws": "fixed"}, "`signatures` must be"),
        (
            {
                "format": "litert",
                "draws": "fixed",
                "signatures": ["samples", "deterministic"],
            },
            "`signatures` must be one",
        ),
        ({"quantiles": [0.5, 1.0]}, "`quantiles` must be a list of levels"),
        ({"quantiles": 0.5}, r"list of levels.*Received: quantiles=0\.5"),
        ({"warmup": np.ones([2, 4])}, "`warmup` must fit the input features"),
        ({"draws": "fixed", "max_bytes": 10}, "would keep 0.0 MiB"),
        ({"likelihood": "hinge"}, "`loss` must be a likelihood"),
    ],
)
def test_arguments(entry, kwargs, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(entry.model, tmp_path / "1", **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_num_samples_must_be_positive(entry, tmp_path):
    with pytest.raises(ValueError, match="`num_samples` must be a positive"):
        tfpbnn.export(entry.model, tmp_path / "1", 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (dense, "was never compiled with a loss"),
        (
            lambda: table.compiled(keras.Sequential([layers.DenseFlipout(2)])),
            "was never built",
        ),
        (lambda: table.compiled(dense(3)), "needs 2 outputs for each target"),
        (nested, "or a flat list or dict of them"),
        (lambda: table.subclassed().model, "`warmup` must be given"),
    ],
)
def test_models(make, message, tmp_path):
    model = make()
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "1")


def test_inputs_may_not_have_the_names_of_ours(tmp_path):
    inputs = keras.Input((3,), name="seed")
    model = keras.Sequential([inputs, layers.DenseFlipout(2)])
    with pytest.raises(ValueError, match="none of them among"):
        export(table.compiled(model), tmp_path / "1")


def test_a_model_without_noise_has_one_pass(tmp_path):
    inputs = keras.Input((3,), name="features")
    model = keras.Sequential([inputs, keras.layers.Dense(2)])
    table.compiled(model)
    with pytest.raises(ValueError, match=r"nothing random in it.*signatures="):
        tfpbnn.export(model, tmp_path / "1")
    export(model, tmp_path / "1")


def random_members(kind):
    """Ensembles without an end of draws, and what each member's mean is."""

    def build():
        return keras.Sequential(
            [
                keras.Input((3,), name="features"),
                keras.layers.Dense(4, "tanh"),
                layers.MCDropout(0.5),
                layers.DenseFlipout(2),
            ]
        )

    if kind == "deep":
        model = ensembles.DeepEnsemble(build, 3)
    elif kind == "mixed":
        plain = [keras.Input((3,), name="features"), keras.layers.Dense(2)]
        model = ensembles.MixedEnsemble([build(), keras.Sequential(plain)])
    elif kind == "samples":
        sets = [[scale * w for w in build().get_weights()] for scale in (1, 2)]
        model = ensembles.WeightSamples.from_weights(build(), sets)
    else:
        swags = [ensembles.SWAG(0) for _ in range(2)]
        for swag in swags:
            model = table.compiled(build())
            feed(swag, model, [model.get_weights()] * 2)
        model = ensembles.MultiSWAG([swag.posterior for swag in swags])
        return model, [part.network for part in model.components]
    return model, model.members


@pytest.mark.parametrize("kind", ["deep", "mixed", "samples", "mixture"])
@pytest.mark.filterwarnings("ignore:.*kl_weight")
def test_the_mean_is_that_of_all_members_at_their_means(kind, tmp_path):
    model, members = random_members(kind)
    table.compiled(model)
    export(model, tmp_path / "1")
    loaded = tf.saved_model.load(tmp_path / "1")
    answers = loaded.signatures["deterministic"](features=table.X)
    means = [
        tfpbnn.predict(table.compiled(member), table.X, draws="mean").mean
        for member in members
    ]
    expected = np.mean(means, axis=0)
    np.testing.assert_allclose(answers["mean"], expected, atol=1e-5)
    assert np.ptp(means, axis=0).max() > 1e-2


def test_the_mean_of_rank_1_is_that_of_its_members(tmp_path):
    inputs = keras.Input((3,), name="features")
    plain = keras.Sequential([inputs, keras.layers.Dense(2)])
    model = table.compiled(ensembles.to_rank1(plain, 4))
    (layer,) = (each for each in model.layers if each.weights)
    r, s = (
        np.asarray(getattr(layer, f"fast_{end}_posterior").loc)
        for end in ("input", "output")
    )
    kernel, bias = (
        np.asarray(getattr(layer, f"{name}_posterior").loc)
        for name in ("kernel", "bias")
    )
    outputs = (table.X * r[:, None]) @ kernel * s[:, None] + bias[:, None]
    export(model, tmp_path / "1")
    loaded = tf.saved_model.load(tmp_path / "1")
    answers = loaded.signatures["deterministic"](features=table.X)
    expected = outputs.mean(0)[:, :1]
    np.testing.assert_allclose(answers["mean"], expected, atol=1e-5)
    with pytest.raises(ValueError, match="one network can stand"):
        tfpbnn.predict(model, table.X, draws="mean")


def test_variables_of_equal_bytes_may_have_different_shapes(tmp_path):
    """Scales that start alike: `[32, 64]` and `[64, 32]`."""
    hidden = [layers.DenseFlipout(n, "relu") for n in (64, 32)]
    for layer in hidden:
        scale = keras.initializers.Constant(-3.0)
        layer.kernel_posterior.untransformed_scale_initializer = scale
    inputs = keras.Input((32,), name="features")
    model = keras.Sequential([inputs, *hidden, layers.DenseFlipout(2)])
    export(table.compiled(model), tmp_path / "1", signatures=["seeded"])
    assert tfpbnn.lint_export(tmp_path / "1") == []


class Positive(keras.layers.Layer):
    """A user's, whose weights are made of its variables at some expense."""

    def build(self, input_shape):
        self.raw = self.add_weight(shape=(input_shape[-1], 100))

    def call(self, x):
        return x @ keras.ops.softplus(self.raw)


def test_fixed_draws_share_what_does_not_differ(tmp_path):
    inputs = keras.Input((3,), name="features")
    last = layers.DenseReparameterization(2)
    chain = [inputs, layers.DenseFlipout(30), Positive(), last]
    model = table.compiled(keras.Sequential(chain))
    export(model, tmp_path / "1", signatures=["samples"], draws="fixed")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    sizes = [tuple(v.shape) for v in loaded.kept_variables]
    assert sizes.count((30, 100)) == 1  # what it is made of
    answer = loaded.signatures["samples"](features=tf.ones([2, 3]))
    assert answer["outputs"].shape == (2, 4, 2)


@pytest.mark.parametrize("draws", ["fresh", "fixed"])
def test_noise_in_place_of_weights_has_the_closed_form_moments(draws, tmp_path):
    """Of a linear model. Rows share it, outputs, draws and requests don't."""
    layer = table.table.dense(2, **table.table.BIASED)
    model = keras.Sequential([keras.Input((3,), name="features"), layer])
    likelihood = likelihoods.Normal(scale=1.0)
    path = tmp_path / "1"
    kwargs = {"draws": draws, "signatures": ["samples"], "seed": 5}
    tfpbnn.export(model, path, 20_000, likelihood=likelihood, **kwargs)
    loaded = tf.saved_model.load(str(path))
    x = np.array([[1, -1, 0.5], [0.2, 2, 0], [1, -1, 0.5]], "float32")
    first, second = (
        loaded.signatures["samples"](features=tf.constant(x))["outputs"].numpy()
        for _ in range(2)
    )
    kernel, bias = layer.kernel_posterior, layer.bias_posterior
    mean = x @ kernel.loc + bias.loc
    variance = x**2 @ kernel.variance() + bias.variance()
    assert_moments(first.swapaxes(0, 1), mean, np.sqrt(variance))
    one = first[0, :, 0]
    assert_correlation(one, first[2, :, 0], 1.0)
    assert_correlation(one, first[0, :, 1], 0.0)
    assert_correlation(one[1:], one[:-1], 0.0)
    if draws == "fixed":
        np.testing.assert_array_equal(first, second)
    else:
        assert_correlation(one, second[0, :, 0], 0.0)
