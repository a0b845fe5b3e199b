"""Fixed draws are those of `predict`: in a SavedModel, in LiteRT, in ONNX."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tests.exporting.runtimes import CRuntime
from tests.exporting.test_served import assert_answers, predict, rows
from tfpbnn.exporting import lint

SAMPLES = 6
ENTRIES = (
    table.variational,
    table.mc_dropout,
    table.swag,
    table.concrete_dropout,
    table.conv,
    table.residual,
)


@pytest.fixture(scope="module", params=ENTRIES, ids=lambda f: f.__name__)
def entry(request):
    keras.utils.set_random_seed(1)
    return request.param()


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


def assert_same(answers, entry):
    for row, predictions in enumerate(expected(entry)):
        one = rows(answers, [row])
        for prefix, p in predictions.items():
            kept = {
                name.removeprefix(prefix)
                for name in answers
                if name.startswith(prefix)
            }
            assert len(kept) >= 4
            assert_answers(one, {prefix: p}, kept)


def test_saved_model(entry, tmp_path):
    path = tmp_path / "1"
    export(entry, path)
    runtime = CRuntime()
    one = runtime.run(path, "serving_default", **entry.inputs)
    assert_same(one, entry)
    two = runtime.run(path, "serving_default", **entry.inputs)
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=1e-6)
    runtime.close()
    loaded = tf.saved_model.load(str(path))
    for function in loaded.signatures.values():
        definition = function.graph.as_graph_def()
        assert lint.random_ops(definition) == set()


def run_litert(path, entry):
    interpreter = tf.lite.Interpreter(str(path))
    return interpreter.get_signature_runner("serving_default")(**entry.inputs)


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
def test_litert_of_several_inputs_and_outputs(tmp_path):
    entry = table.several()
    export(entry, tmp_path / "model.tflite", format="litert")
    assert_same(run_litert(tmp_path / "model.tflite", entry), entry)


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
def test_litert(entry, tmp_path):
    path = tmp_path / "model.tflite"
    export(entry, path, format="litert")
    interpreter = tf.lite.Interpreter(str(path))
    kinds = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not any(kind.startswith("Flex") for kind in kinds)
    assert_same(run_litert(path, entry), entry)
    card = json.loads((tmp_path / "model.tflite.model_card.json").read_text())
    assert card["draws"] == "fixed"


def test_onnx(entry, tmp_path):
    pytest.importorskip("tf2onnx", reason='needs the extra "onnx"')
    onnxruntime = pytest.importorskip("onnxruntime", reason="likewise")
    path = tmp_path / "model.onnx"
    export(entry, path, format="onnx")
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, entry.inputs)
    assert_same(dict(zip(names, found, strict=True)), entry)


def test_openvino(entry, tmp_path):
    """It reads the SavedModel; not the gamma functions of quantiles."""
    openvino = pytest.importorskip("openvino")
    export(entry, tmp_path / "1", signatures=["serving_default"], quantiles=[])
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(tmp_path / "1"), "CPU", exact)
    (x,) = entry.inputs.values()
    found = compiled([x])
    answers = {
        name: value
        for output, value in found.items()
        for name in output.get_names()
    }
    assert_same(answers, entry)


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
    assert_same({k: v.numpy() for k, v in answer.items()}, entry)
    sizes = [v.shape for v in loaded.kept_variables]
    assert sizes.count((3, 3, 4, 32)) == SAMPLES
