"""What goes in and comes out of exports: kinds of inputs, outputs by name."""

import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tfpbnn import layers, likelihoods

# The module, which the function of its name hides.
exporting = importlib.import_module("tfpbnn.exporting.export")


def export(model, path, **kwargs):
    kwargs = {"signatures": ["deterministic"]} | kwargs
    tfpbnn.export(model, path, 4, **kwargs)


def test_ragged_inputs_are_named(tmp_path):
    words = keras.Input((None,), ragged=True, dtype="int64", name="words")
    h = keras.layers.Embedding(5, 4)(words)
    h = keras.layers.GlobalAveragePooling1D()(h)
    model = table.compiled(keras.Model(words, layers.DenseFlipout(2)(h)))
    with pytest.raises(ValueError, match="the ragged input 'words'"):
        export(model, tmp_path / "1")


class Plus(keras.layers.Layer):
    """A user's, with an argument that may be left out."""

    def call(self, x, more=None):
        return x if more is None else x + more

    def compute_output_shape(self, x, *more):
        return x


def test_optional_inputs_are_given(tmp_path):
    a = keras.Input((3,), name="a")
    b = keras.Input((3,), name="b", optional=True)
    y = keras.layers.Dense(2)(Plus()(a, b))
    model = table.compiled(keras.Model([a, b], y))
    with pytest.raises(ValueError, match="None for the input 'b'"):
        export(model, tmp_path / "1", warmup=[table.X, None])
    export(model, tmp_path / "1", warmup=[table.X, 2 * table.X])
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    x = tf.constant(table.X)
    found = loaded.signatures["deterministic"](a=x, b=2 * x)["mean"]
    expected = model.predict([table.X, 2 * table.X], verbose=0)[:, :1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_sparse_inputs_are_served_as_dense_ones(tmp_path):
    x = keras.Input((5,), sparse=True, name="x")
    h = keras.layers.Dense(4, "tanh")(x)
    model = table.compiled(keras.Model(x, keras.layers.Dense(2)(h)))
    export(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    rows = np.eye(5, dtype="float32")
    found = loaded.signatures["deterministic"](x=tf.constant(rows))["mean"]
    expected = model.predict(tf.sparse.from_dense(rows), verbose=0)[:, :1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_half_precision_is_exported(tmp_path):
    """For gRPC; only lint says that REST can't do it."""
    x = keras.Input((3,), dtype="bfloat16", name="x")
    model = table.compiled(keras.Model(x, layers.DenseFlipout(2)(x)))
    rows = tf.cast(table.X, "bfloat16")
    export(model, tmp_path / "1", warmup=rows)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    found = loaded.signatures["deterministic"](x=rows)["mean"]
    expected = tfpbnn.predict(model, rows, draws="mean", verbose=0).mean
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    (line,) = tfpbnn.lint_export(tmp_path / "1")
    assert "input x is DT_BFLOAT16, which REST can't do" in line


def test_names_of_answers_differ(tmp_path):
    x = keras.Input((3,), name="features")
    y = {name: layers.DenseFlipout(2)(x) for name in ("p", "p_epistemic")}
    model = table.compiled(keras.Model(x, y))
    with pytest.raises(ValueError, match="two would answer 'p_epistemic_var"):
        export(model, tmp_path / "1", signatures=["serving_default"])


def test_outputs_of_one_layer_are_told_apart(tmp_path):
    x = keras.Input((3,), name="features")
    layer = layers.DenseFlipout(2)
    model = table.compiled(keras.Model(x, [layer(x), layer(2.0 * x)]))
    export(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    found = loaded.signatures["deterministic"](features=tf.constant(table.X))
    one, two = tfpbnn.predict(model, table.X, draws="mean", verbose=0)
    for place, p in enumerate((one, two)):
        mean = found[f"output_{place}_mean"]
        np.testing.assert_allclose(mean, p.mean, rtol=1e-4)


def test_outputs_without_a_loss_are_passed_over(tmp_path, monkeypatch):
    """And may have any shape."""
    x = keras.Input((3,), name="features")
    y = layers.DenseFlipout(2)(x)
    outputs = {"a": keras.ops.sum(x, axis=1), "y": y}
    model = keras.Model(x, outputs)
    likelihood = likelihoods.Normal()
    found = [None, likelihood]
    monkeypatch.setattr(exporting, "resolve", lambda *_: found)
    export(model, tmp_path / "1", likelihood=likelihood)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    answer = loaded.signatures["deterministic"](features=tf.constant(table.X))
    assert set(answer) == {"y_mean", "y_aleatoric_variance"}
    np.testing.assert_allclose(
        answer["y_mean"],
        table.X @ model.layers[1].kernel_posterior.loc[:, :1],
        rtol=1e-4,
    )
    card = json.loads((tmp_path / "1" / "model_card.json").read_text())
    assert list(card["likelihood"]) == ["y"]
