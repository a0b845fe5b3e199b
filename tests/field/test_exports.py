"""Reports from the field: models that could not be exported or served."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import ensembles

L, N = tfpbnn.layers, tfpbnn.likelihoods.Normal
TEXT = np.array([["red car"], ["blue bus"]])


def head(*layers, **kwargs):
    model = keras.Sequential([keras.Input(**kwargs), *layers])
    model.compile("adam", N())
    return model


def export(model, path, num_samples=2, **kwargs):
    """The one signature that is asked below, without quantiles."""
    one = {"signatures": ["serving_default"], "quantiles": []}
    tfpbnn.export(model, path, num_samples, **one, **kwargs)


def signature(path):
    return tf.saved_model.load(path).signatures["serving_default"]


def test_export_remote(tmp_path, monkeypatch):
    """A path of an object store became a local folder."""
    monkeypatch.chdir(tmp_path)
    model = head(L.DenseFlipout(2), shape=(3,), name="features")
    export(model, "ram://field/1")
    assert tf.io.gfile.exists("ram://field/1/saved_model.pb")
    assert tfpbnn.lint_export("ram://field/1") == []
    with pytest.raises(Exception, match="nowhere"):
        export(model, "nowhere://bucket/1")
    assert not list(tmp_path.iterdir())


def vectorization(mode, **kwargs):
    layer = keras.layers.TextVectorization(output_mode=mode, **kwargs)
    layer.adapt(TEXT[:, 0])
    return layer


def lookup():
    return keras.layers.StringLookup(
        vocabulary=["red car"], output_mode="one_hot"
    )


class Holds(keras.layers.Layer):
    """One's own layer around a lookup."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = lookup()

    def call(self, x):
        return self.inner(x)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2)


def text_net(*layers):
    return head(*layers, shape=(1,), dtype="string", name="text")


def ensemble_of_text():
    return ensembles.DeepEnsemble(
        lambda: text_net(lookup(), keras.layers.Dense(2)), num_members=2
    )


TEXTS = {
    "indices": lambda: text_net(
        vectorization("int", output_sequence_length=3),
        keras.layers.Embedding(9, 3),
        keras.layers.Flatten(),
        L.DenseFlipout(2),
    ),
    "multi_hot": lambda: text_net(
        vectorization("multi_hot"), L.DenseFlipout(2)
    ),
    "own layer": lambda: text_net(Holds(), L.DenseFlipout(2)),
    "ensemble": ensemble_of_text,
}


@pytest.mark.parametrize("draws", ["fresh", "fixed"])
@pytest.mark.parametrize("kind", TEXTS)
def test_export_text(tmp_path, kind, draws):
    """Vocabularies were "untracked resources"."""
    model = TEXTS[kind]()
    if kind == "ensemble":
        model.compile("adam", N())
    model.predict(tf.constant(TEXT), verbose=0)
    path = str(tmp_path / "1")
    export(model, path, draws=draws)
    answer = signature(path)(text=tf.constant(TEXT))["mean"].numpy()
    assert answer.shape == (2, 1)
    assert answer[0] != answer[1]
    if kind == "ensemble":
        right = tfpbnn.predict(model, TEXT, verbose=0).mean
        np.testing.assert_allclose(answer, right, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*all keys in the dict must match")
@pytest.mark.parametrize(
    ("names", "is_named"),
    [
        (["1stFlrSF", "LotArea"], True),
        (["_id_hash", "LotArea"], False),
        (["größe", "alter"], False),
        (["hours-per-week", "age"], True),
    ],
)
def test_export_names(tmp_path, names, is_named):
    """Inputs by names that are no identifiers were a bare KeyError."""
    inputs = {
        name: keras.Input((1,), name=name if is_named else None)
        for name in names
    }
    x = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, L.DenseFlipout(2)(x))
    model.compile("adam", N())
    path = str(tmp_path / "1")
    try:
        export(model, path)
    except ValueError as error:
        assert any(name in str(error) for name in names)  # noqa: PT017
        return
    model.export(tmp_path / "keras", verbose=False)
    found, right = (
        sorted(signature(str(p)).structured_input_signature[1])
        for p in (path, tmp_path / "keras")
    )
    if not is_named:  # Keras takes names of its own
        right = sorted(n if n.isalpha() else f"arg_{n}" for n in names)
    assert found == right


@pytest.mark.filterwarnings("ignore:.*`quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_export_quantized(tmp_path, mode):
    """A quantized backbone was an "invalid capture"."""
    x = np.ones((3, 4), "float32")
    backbone = keras.layers.Dense(16, "relu")
    model = head(backbone, L.DenseFlipout(2), shape=(4,), name="f")
    model.quantize(mode)
    path = str(tmp_path / "1")
    export(model, path, 4, draws="fixed", seed=0)
    mean = tfpbnn.predict(model, x, num_samples=400, verbose=0)
    answer = signature(path)(f=tf.constant(x))["mean"].numpy()
    spread = mean.draw_means.std(axis=0)
    assert np.all(np.abs(answer - mean.mean) < 3 * spread)
