"""Request logs against TensorFlow Serving's own classes."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.monitor import cases
from tfpbnn.exporting.signatures import warmups
from tfpbnn.monitor import read_request_logs

X = cases.rng(0).normal(size=(4, 3)).astype("float32")
OUTPUTS = {
    "mean": X[:, :1],
    "epistemic_variance": X[:, :1] ** 2,
    "aleatoric_variance": 1 + X[:, :1] ** 2,
    "quantiles": np.stack([X[:, :1] - 2, X[:, :1] + 2], axis=1),
}


def written(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def log_of(api, version=3, outputs=OUTPUTS):
    """A log as TensorFlow Serving writes it, with fields that are not read."""
    log = api.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "bnn"
    request.model_spec.signature_name = "seeded"
    request.output_filter.append("mean")
    inputs = {"x": X, "names": np.array([b"a", b"b"])}
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    response = log.predict_log.response
    response.model_spec.name = "bnn"
    if version is not None:
        response.model_spec.version.value = version
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
    log.log_metadata.sampling_config.sampling_rate = 0.25
    log.log_metadata.saved_model_tags.append("serve")
    log.log_metadata.timestamp_secs = 1_700_000_000
    return log.SerializeToString()


def test_records_are_read_as_protobuf_does(tmp_path):
    api = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    other = api.PredictionLog()
    other.classify_log.request.model_spec.name = "other"
    path = written(
        tmp_path / "log",
        log_of(api),
        other.SerializeToString(),
        log_of(api, version=None, outputs={}),
    )
    one, two = read_request_logs([path])
    assert one[2:] == ("bnn", 3, "seeded", 1_700_000_000)
    np.testing.assert_array_equal(one.inputs["x"], X)
    assert one.inputs["names"].tolist() == [b"a", b"b"]
    p = one.predictive(quantiles=[0.05, 0.95], num_samples=8)
    np.testing.assert_allclose(p.mean, OUTPUTS["mean"])
    np.testing.assert_allclose(p.interval(0.9)[1], X[:, :1] + 2)
    assert (two.version, two.outputs) == (None, {})
    with pytest.raises(ValueError, match="answer must be logged"):
        two.predictive()


def test_warm_up_requests_are_such_logs(tmp_path):
    warmups.write(tmp_path, "bnn", {"serving_default": {"x": X}})
    (path,) = (p for p in pathlib.Path(tmp_path).rglob("*") if p.is_file())
    (one,) = read_request_logs(path)
    np.testing.assert_array_equal(one.inputs["x"], X)
    assert (one.model_name, one.signature) == ("bnn", "serving_default")


def test_files_that_are_no_logs(tmp_path):
    path = written(tmp_path / "other", b"this is no protobuf")
    with pytest.raises(ValueError, match="must be a PredictionLog"):
        list(read_request_logs(path))
    record = warmups.prediction_log("bnn", "serving_default", {"x": X})
    for size in (len(record) - 3, 9, 1):
        path = written(tmp_path / "cut", record[:size])
        with pytest.raises(ValueError, match="must be a PredictionLog"):
            list(read_request_logs(path))
    whole = written(tmp_path / "whole", record)
    whole.write_bytes(whole.read_bytes()[:-5])
    with pytest.raises(ValueError, match="that are whole"):
        list(read_request_logs(whole))
    with pytest.raises(FileNotFoundError):
        list(read_request_logs(tmp_path / "none"))
