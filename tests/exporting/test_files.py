"""Exports go where their path says: home folders, file systems, or nowhere."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.exporting import table
from tfpbnn.exporting import files

gfile = tf.io.gfile


@pytest.fixture(scope="module")
def model():
    chain = [keras.Input((3,), name="features"), tfpbnn.layers.DenseFlipout(2)]
    return table.compiled(keras.Sequential(chain))


def export(model, path, **kwargs):
    kwargs = {"signatures": ["deterministic"]} | kwargs
    tfpbnn.export(model, path, 2, **kwargs)


def test_remote_exports_are_those_of_this_machine(model, tmp_path, monkeypatch):
    """All is there: variables, the card and the requests to warm up with."""
    monkeypatch.chdir(tmp_path)
    path = "ram://bucket/wine/1"
    export(model, path, warmup=table.X)
    assert list(tmp_path.iterdir()) == []
    assert tfpbnn.lint_export(path) == []
    with gfile.GFile(f"{path}/model_card.json") as card:
        assert json.load(card)["num_samples"] == 2
    records = f"{path}/assets.extra/tf_serving_warmup_requests"
    (record,) = tf.data.TFRecordDataset(records)
    assert b"wine" in record.numpy()
    served = tf.saved_model.load(path).signatures["deterministic"]
    expected = tfpbnn.predict(model, table.X, draws="mean", verbose=0).mean
    found = served(features=tf.constant(table.X))["mean"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_remote_versions_are_replaced_when_asked_to(model):
    path = "ram://bucket/beer/1"
    export(model, path, warmup=table.X)
    with pytest.raises(FileExistsError, match=r"ram://bucket/beer/1"):
        export(model, path)
    export(model, path, overwrite=True)
    assert not gfile.exists(f"{path}/assets.extra/tf_serving_warmup_requests")
    assert tfpbnn.lint_export(path) == []


def test_the_model_itself_comes_last(model, monkeypatch):
    """A server that watches the folder finds no half of a version."""
    order = []
    copy = gfile.copy

    def noted(source, to, overwrite=False):
        order.append(to)
        copy(source, to, overwrite)

    monkeypatch.setattr(gfile, "copy", noted)
    export(model, "ram://bucket/last/1")
    assert len(order) > 3
    assert order[-1] == "ram://bucket/last/1/saved_model.pb"


def test_what_fails_on_its_way_leaves_nothing(model, monkeypatch):
    def full(source, to, overwrite=False):
        del overwrite
        if to.endswith(files.MODEL):
            raise tf.errors.ResourceExhaustedError(None, None, "disk is full")
        gfile.GFile(to, "w").write(pathlib.Path(source).read_bytes())

    monkeypatch.setattr(gfile, "copy", full)
    with pytest.raises(OSError, match=r"ram://bucket/full/1.*disk is full"):
        export(model, "ram://bucket/full/1")
    monkeypatch.undo()
    left = [f for *_, names in gfile.walk("ram://bucket/full/1") for f in names]
    assert left == []


@pytest.mark.parametrize("scheme", ["s3", "hdfs", "abc"])
@pytest.mark.parametrize("ask", [tfpbnn.export, tfpbnn.lint_export])
def test_unknown_file_systems_are_named(ask, scheme, model, tmp_path):
    path = f"{scheme}://bucket/1"
    arguments = (model, path) if ask is tfpbnn.export else (path,)
    with pytest.raises(ValueError, match=f"`path` must be .*path='{path}'"):
        ask(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_addresses_are_no_paths(model):
    """`pathlib.Path` has made one slash of two: a local folder "gs:"."""
    with pytest.raises(ValueError, match=r"Use path=gs://bucket/1, as a str"):
        export(model, pathlib.Path("gs://bucket/1"))


@pytest.mark.parametrize("path", ["", "/", b"wine"])
def test_paths_have_names(path, model):
    with pytest.raises(ValueError, match="`path` must be the name of a file"):
        export(model, path)


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_home_is_written_out(kind, model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    export(model, kind("~/wine/1/"))
    assert (tmp_path / "wine" / "1" / "saved_model.pb").is_file()
    assert [f.name for f in tmp_path.iterdir()] == ["wine"]
    assert tfpbnn.lint_export(kind("~/wine/1")) == []
    assert tfpbnn.lint_export(f"file://{tmp_path}/wine/1") == []


def test_other_formats_are_remote_too(model):
    path = "ram://phones/wine.tflite"
    export(model, path, draws="fixed", format="litert")
    with gfile.GFile(path, "rb") as file:
        assert file.read()[4:8] == b"TFL3"  # how all files for LiteRT begin
    assert gfile.exists(f"{path}.model_card.json")
