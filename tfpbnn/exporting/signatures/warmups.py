"""A server plays these requests when it loads a model."""

import pathlib
from collections.abc import Mapping

import tensorflow as tf

from tfpbnn.base.types import Array

_FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
_LENGTH_DELIMITED = 2
# Field numbers of the messages of tensorflow_serving/apis.
_LOG_PREDICT, _PREDICT_REQUEST = 6, 1
_REQUEST_SPEC, _REQUEST_INPUTS = 1, 2
_SPEC_NAME, _SPEC_SIGNATURE = 1, 3
_KEY, _VALUE = 1, 2


def write(
    folder: pathlib.Path, name: str, requests: Mapping[str, dict[str, Array]]
) -> None:
    """Writes a record for each signature.

    Args:
        folder: of the SavedModel.
        name: of the model, on the server.
        requests: inputs by name, by signature.
    """
    file = folder / _FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in requests.items():
            writer.write(prediction_log(name, signature, inputs))


def prediction_log(
    name: str, signature: str, inputs: Mapping[str, Array]
) -> bytes:
    """Writes `PredictionLog{predict_log{request}}` as protobuf does.

    By hand: the classes are those of a package that all of TensorFlow would
    come with once more.
    """
    spec = _field(_SPEC_NAME, name.encode())
    spec += _field(_SPEC_SIGNATURE, signature.encode())
    request = _field(_REQUEST_SPEC, spec)
    for key, array in sorted(inputs.items()):
        tensor = tf.make_tensor_proto(array).SerializeToString()
        entry = _field(_KEY, key.encode()) + _field(_VALUE, tensor)
        request += _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    tag = number << 3 | _LENGTH_DELIMITED
    return _varint(tag) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
