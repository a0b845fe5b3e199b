"""Reads the request logs of TensorFlow Serving.

They are TFRecords of `PredictionLog`s, read by hand: the classes are those of a
package that all of TensorFlow would come with once more.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tfpbnn.base.types import Array
from tfpbnn.client import results

# Field numbers of the messages of tensorflow_serving/apis.
_METADATA, _PREDICT, _TIMESTAMP = 1, 6, 4
_REQUEST, _RESPONSE = 1, 2
_REQUEST_SPEC, _REQUEST_INPUTS = 1, 2
_RESPONSE_SPEC, _RESPONSE_OUTPUTS = 2, 1
_NAME, _VERSION, _SIGNATURE = 1, 2, 3
_KEY, _VALUE = 1, 2
_VARINT, _BYTES = 0, 2
_SIZES = {1: 8, 5: 4}


class LoggedRequest(NamedTuple):
    """A request that a server has logged, with what it answered.

    Attributes:
        inputs: arrays by name.
        outputs: arrays by name; none if the answer was not logged.
        model_name: of the model.
        version: that has answered; None if it isn't said.
        signature: that was asked for.
        time: in whole seconds since 1970; None if it isn't said.
    """

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    model_name: str
    version: int | None
    signature: str
    time: int | None

    def predictive(
        self,
        likelihood: Any = None,
        quantiles: Sequence[float] = (),
        num_samples: int = 0,
    ) -> Any:
        """Makes the prediction that the client would have made of it.

        Args:
            likelihood, quantiles: as of `tfpbnn.client.TFServingClient`.
            num_samples: S, which logs don't have; 0 if it isn't known.

        Returns:
            A `tfpbnn.Predictive`, or a dict for several outputs.

        Raises:
            ValueError: if the answer was not logged, or for those of the
                client.
        """
        if not self.outputs:
            raise ValueError(
                "The answer must be logged with the request. Received: a log "
                f"of {self.model_name!r} with inputs only"
            )
        return results.predictive(
            self.outputs, likelihood, quantiles, num_samples
        )


def read_request_logs(paths: Any) -> Iterator[LoggedRequest]:
    """Reads the request logs of TensorFlow Serving, for `monitor.log`.

    What is no request of `Predict`, such as `Classify`, is left out.

    Args:
        paths: a file of TFRecords of `PredictionLog`, or a list of them.

    Yields:
        A `LoggedRequest` for each.

    Raises:
        OSError: if a file can't be read.
        ValueError: if a record is no `PredictionLog`, or breaks off.

    Example:
    ```python
    def log_all(monitor, path):
        for i, request in enumerate(tfpbnn.monitor.read_request_logs(path)):
            p = request.predictive()
            ids = [f"{path}-{i}-{row}" for row in range(len(p))]
            monitor.log(ids, p, inputs=request.inputs)
    ```
    """
    several = paths if isinstance(paths, list | tuple) else [paths]
    try:
        for path in several:
            for record in tf.data.TFRecordDataset(str(path)):
                found = parsed(record.numpy())
                if found is not None:
                    yield found
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.DataLossError as error:
        raise ValueError(
            "`paths` must be files of TFRecords that are whole. Received: "
            f"{paths!r}: {error.message}"
        ) from error


def parsed(record: bytes) -> LoggedRequest | None:
    """Reads a `PredictionLog`; None if it is of no `Predict`."""
    try:
        return _parsed(record)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            "A record must be a PredictionLog. Received: "
            f"{record[:40]!r}, of {len(record)} bytes"
        ) from error


def _parsed(record: bytes) -> LoggedRequest | None:
    log = _fields(record)
    if _PREDICT not in log:
        return None
    metadata = _fields(_joined(log, _METADATA))
    predict = _fields(_joined(log, _PREDICT))
    request = _fields(_joined(predict, _REQUEST))
    response = _fields(_joined(predict, _RESPONSE))
    asked = _fields(_joined(request, _REQUEST_SPEC))
    answered = _fields(_joined(response, _RESPONSE_SPEC))
    spec = asked | answered
    version = _fields(_joined(spec, _VERSION)).get(_KEY, [None])[-1]
    return LoggedRequest(
        _arrays(request.get(_REQUEST_INPUTS, [])),
        _arrays(response.get(_RESPONSE_OUTPUTS, [])),
        _joined(spec, _NAME).decode(),
        version,
        _joined(spec, _SIGNATURE).decode() or "serving_default",
        metadata.get(_TIMESTAMP, [None])[-1],
    )


def _joined(fields: dict[int, list[Any]], number: int) -> bytes:
    """Takes a field of bytes; as protobuf does, messages are merged."""
    return b"".join(fields.get(number, []))


def _arrays(entries: list[bytes]) -> dict[str, Array]:
    """Reads a map of tensors by name."""
    found = {}
    for entry in entries:
        fields = _fields(entry)
        tensor = tensor_pb2.TensorProto.FromString(_joined(fields, _VALUE))
        found[_joined(fields, _KEY).decode()] = tf.make_ndarray(tensor)
    return found


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Splits a message into its fields, by number."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            found.setdefault(number, []).append(value)
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        else:
            size = _SIZES.get(kind, len(message))  # none is of another kind
        if at + size > len(message):
            raise IndexError("it breaks off")
        found.setdefault(number, []).append(message[at : at + size])
        at += size
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Reads a number of 7 bits a byte; returns it, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
