"""Fixed draws are those of `predict`: in a SavedModel, in LiteRT, in ONNX."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tests.exporting.runtimes import c_runtime
from tests.exporting.test_served import assert_all, predict, rows
from tfpbnn import likelihoods
from tfpbnn.exporting import lint

SAMPLES = 4


def sequences():
    """Masks, both directions, layers of Keras's own, steps that are known."""
    x = keras.Input((3, 3))
    h = keras.layers.Masking()(x)
    both = tfpbnn.layers.LSTMReparameterization(2, return_sequences=True)
    h = keras.layers.Bidirectional(both)(h)
    h = keras.layers.SimpleRNN(3, return_sequences=True)(h)
    h = keras.layers.GRU(3)(h)
    model = table.compiled(keras.Model(x, table.table.dense(2)(h)))
    rows = table.normal(4, 3, 3)
    rows[1, 2:] = rows[2, 1] = 0.0
    return table.Served(model, rows, {"inputs": rows})


def pixels():
    """Classes of each pixel, right behind a convolution."""
    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = tfpbnn.layers.Conv2DFlipout(3, 3, padding="same", **table.NOISY)(h)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = table.compiled(keras.Model(x, y), loss)
    rows = table.normal(2, 4, 4, 3)
    return table.Served(model, rows, {"inputs": rows})


def heads():
    """Several inputs; each kind of dropout, BatchNorm and a residual.

    In one model, since a file takes seconds and not each of its outputs.
    """
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    h = keras.layers.Dense(4, "relu")(keras.layers.Concatenate()([a, b]))
    dropped = tfpbnn.layers.MCDropout(0.3)(keras.layers.Dense(16, "relu")(h))
    residual = keras.layers.Dropout(0.5)(table.table.dense(3, "tanh")(b))
    residual = keras.layers.BatchNormalization()(b + residual)
    outputs = {
        "labels": keras.layers.Dense(4)(dropped),
        "counts": tfpbnn.layers.ConcreteDropout(keras.layers.Dense(1))(h),
        "numbers": keras.layers.Concatenate()(
            [table.table.dense(2)(residual), b]
        ),
        "other": h,
        "sum": table.table.dense(4)(h) + h,
    }
    x = {"a": table.normal(4, 2), "b": table.normal(4, 3)}
    return keras.Model({"b": b, "a": a}, outputs), x


def all_heads():
    model, x = table.table.settled(heads)
    losses = {
        "labels": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "counts": likelihoods.Poisson(),
        "numbers": likelihoods.Normal(scale=0.5),
        "other": likelihoods.Laplace(scale=1.0),
        "sum": likelihoods.Bernoulli(),
    }
    return table.Served(table.compiled(model, losses), x, x, has_apart=True)


ENTRIES = (
    table.variational,
    table.multi_swag,
    table.conv,
    pixels,
    all_heads,
    sequences,
)


# Quantiles take half of a SavedModel's time, and are of outputs alone.
HAVE_QUANTILES = (table.variational, all_heads)


@pytest.fixture(scope="module", params=ENTRIES, ids=lambda f: f.__name__)
def entry(request):
    keras.utils.set_random_seed(1)
    entry = request.param()
    if request.param not in HAVE_QUANTILES:
        kwargs = entry.kwargs | {"quantiles": []}
        entry = dataclasses.replace(entry, kwargs=kwargs)
    return entry


@pytest.fixture(scope="module")
def predicted(entry):
    return expected(entry)


def export(entry, path, **kwargs):
    kwargs = entry.kwargs | {"draws": "fixed", "seed": 3} | kwargs
    tfpbnn.export(entry.model, path, SAMPLES, **kwargs)


def expected(entry):
    """With the draws that the export has taken, of each row by itself."""
    kind = "marginal" if entry.has_apart else "coherent"
    count = len(next(iter(entry.inputs.values())))
    return [
        predict(entry, rows(entry.x, [row]), SAMPLES, seed=3, draws=kind)
        for row in range(count)
    ]


def assert_same(answers, predicted):
    for row, predictions in enumerate(predicted):
        assert_all(rows(answers, [row]), predictions)


def test_saved_model(entry, predicted, tmp_path):
    path = tmp_path / "1"
    export(entry, path)
    runtime = c_runtime()
    one = runtime.run(path, "serving_default", **entry.inputs)
    assert_same(one, predicted)
    two = runtime.run(path, "serving_default", **entry.inputs)
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=1e-6)
    loaded = tf.saved_model.load(str(path))
    for function in loaded.signatures.values():
        definition = function.graph.as_graph_def()
        assert lint.random_ops(definition) == set()


def run_litert(path, entry):
    interpreter = tf.lite.Interpreter(str(path))
    return interpreter.get_signature_runner("serving_default")(**entry.inputs)


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
def test_litert(entry, predicted, tmp_path):
    path = tmp_path / "model.tflite"
    export(entry, path, format="litert")
    interpreter = tf.lite.Interpreter(str(path))
    kinds = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not any(kind.startswith("Flex") for kind in kinds)
    assert_same(run_litert(path, entry), predicted)
    card = json.loads((tmp_path / "model.tflite.model_card.json").read_text())
    assert card["draws"] == "fixed"


def run_onnx(path, entry):
    onnxruntime = pytest.importorskip("onnxruntime", reason="likewise")
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, entry.inputs), strict=True))


def test_onnx(entry, predicted, tmp_path):
    pytest.importorskip("tf2onnx", reason='needs the extra "onnx"')
    path = tmp_path / "model.onnx"
    export(entry, path, format="onnx")
    assert_same(run_onnx(path, entry), predicted)


def test_openvino(entry, predicted, tmp_path):
    """It reads the SavedModel; not the gamma functions of quantiles."""
    openvino = pytest.importorskip("openvino")
    export(entry, tmp_path / "1", signatures=["serving_default"], quantiles=[])
    answers = run_openvino(openvino, tmp_path / "1", entry)
    assert_same(answers, predicted)


def run_openvino(openvino, path, entry):
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", exact)
    found = compiled(entry.inputs)
    return {
        name: value
        for output, value in found.items()
        for name in output.get_names()
    }


@pytest.mark.parametrize("kind", ["litert", "onnx"])
def test_a_loop_over_an_unknown_number_of_steps_is_refused(kind, tmp_path):
    x = keras.Input((None, 3))
    h = keras.layers.GRU(3, return_sequences=True, name="first")(x)
    last = tfpbnn.layers.LSTMReparameterization(3)
    h = keras.layers.Bidirectional(last, name="both")(h)
    model = table.compiled(keras.Model(x, table.table.dense(2)(h)))
    entry = table.Served(model, None, {})
    message = r"fixed number of time steps.*\['first', 'both'\]"
    with pytest.raises(ValueError, match=message):
        export(entry, tmp_path / "m", format=kind)
    assert not any(layer.unroll for layer in recurrent(model))


def recurrent(model):
    layers = model._flatten_layers()
    return [part for part in layers if isinstance(part, keras.layers.RNN)]


@pytest.mark.parametrize(
    ("kind", "name", "lacked"),
    [
        ("litert", "LiteRT", "StringToHashBucketFast"),
        ("onnx", "ONNX", "StringToHashBucketFast"),
        ("onnx", "ONNX", "LookupTableFindV2"),
    ],
)
def test_what_a_format_lacks_is_said_in_a_sentence(
    kind, name, lacked, tmp_path
):
    words = keras.Input((1,), dtype="string", name="words")
    known = keras.layers.StringLookup(
        vocabulary=["a", "b"], output_mode="one_hot"
    )
    hashed = keras.layers.Hashing(3, output_mode="one_hot")
    layer = known if lacked.startswith("Lookup") else hashed
    model = keras.Model(words, table.table.dense(2)(layer(words)))
    entry = table.Served(table.compiled(model), None, {})
    with pytest.raises(ValueError, match=lacked) as caught:
        export(entry, tmp_path / "m", format=kind, signatures=["deterministic"])
    message = str(caught.value)
    assert message.startswith(f"`posterior` must have operations that {name}")
    assert "\n" not in message
    assert "loc(" not in message


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
@pytest.mark.parametrize("kind", ["litert", "onnx"])
def test_half_precision_inputs(kind, tmp_path):
    x = keras.Input((3,), dtype="float16", name="features")
    model = table.compiled(keras.Model(x, table.table.dense(2)(x)))
    rows = table.normal(3, 3).astype("float16")
    entry = table.Served(model, rows, {"features": rows}, has_apart=True)
    export(entry, tmp_path / "m", format=kind)
    run = run_litert if kind == "litert" else run_onnx
    assert_same(run(tmp_path / "m", entry), expected(entry))


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
def test_a_long_graph_is_there_once(tmp_path):
    """And not for each draw."""
    lstm = tfpbnn.layers.LSTMReparameterization(2)
    both = keras.layers.Bidirectional(lstm)
    chain = [keras.Input((3, 3)), keras.layers.Masking(), both]
    model = table.compiled(keras.Sequential(chain))
    sizes = []
    for count in (2, 20):
        path = tmp_path / f"{count}.tflite"
        kwargs = {"draws": "fixed", "format": "litert"}
        tfpbnn.export(model, path, count, **kwargs)
        interpreter = tf.lite.Interpreter(str(path))
        sizes.append(len(interpreter._get_ops_details()))
    assert sizes[1] < 1.1 * sizes[0]
    assert not any(layer.unroll for layer in recurrent(model))


def test_fixed_draws_of_a_large_kernel_are_variables(tmp_path):
    """Above what is kept in the graph, in a loop of networks."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4), name="features"),
            tfpbnn.layers.Conv2DFlipout(32, 3, **table.NOISY),
            keras.layers.GlobalAveragePooling2D(),
            table.table.dense(2),
        ]
    )
    x = table.normal(2, 8, 8, 4)
    entry = table.Served(table.compiled(model), x, {"features": x})
    export(entry, tmp_path / "1", signatures=["serving_default"])
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    answer = loaded.signatures["serving_default"](features=tf.constant(x))
    found = {name: value.numpy() for name, value in answer.items()}
    assert_same(found, expected(entry))
    sizes = [v.shape for v in loaded.kept_variables]
    assert sizes.count((3, 3, 4, 32)) == SAMPLES
