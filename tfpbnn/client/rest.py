"""This asks TensorFlow Serving by REST, with the standard library."""

import base64
import http.client
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from tfpbnn.base.types import Array
from tfpbnn.client import transport
from tfpbnn.client.errors import ServerError
from tfpbnn.client.signatures import Metadata, Signature, describe, from_proto

_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_HALVES = (tf.float16, tf.bfloat16)


class RestTransport:
    """This sends columnar JSON over connections that it keeps."""

    fills_in_defaults = False

    def __init__(self, address: transport.Address):
        self._address = address
        name = _quoted(address.model_name)
        self._model = f"{address.url.path.rstrip('/')}/v1/models/{name}"
        self._path = self._model
        if address.version is not None:
            self._path += f"/versions/{address.version}"
        if address.label is not None:
            self._path += f"/labels/{_quoted(address.label)}"
        self._idle: list[http.client.HTTPConnection] = []

    def metadata(self) -> Metadata:
        answer = self._call("GET", f"{self._path}/metadata")
        try:
            protos = answer["metadata"]["signature_def"]["signature_def"]
            version = int(answer["model_spec"]["version"])
        except (KeyError, TypeError) as error:
            raise ServerError(
                "OK", f"but no metadata of a SavedModel: {answer}"
            ) from error
        signatures = {
            name: from_proto(
                json_format.ParseDict(
                    proto,
                    meta_graph_pb2.SignatureDef(),
                    ignore_unknown_fields=True,
                )
            )
            for name, proto in sorted(protos.items())
        }
        return Metadata(self._address.model_name, version, signatures)

    def status(self, any_version: bool) -> dict[int, str]:
        path = self._model if any_version else self._path
        versions = self._call("GET", path)["model_version_status"]
        return {
            int(v["version"]): transport.state(
                v["state"], v.get("status", {}).get("error_message", "")
            )
            for v in versions
        }

    def predict(
        self,
        inputs: Mapping[str, Array],
        name: str,
        signature: Signature,
    ) -> dict[str, Array]:
        _refuse_halves(signature)
        body = {
            "signature_name": name,
            "inputs": {n: _to_json(array) for n, array in inputs.items()},
        }
        answer = self._call("POST", f"{self._path}:predict", body)
        found = answer["outputs"]
        specs = signature.outputs
        if len(specs) == 1:  # then the server leaves out its name
            found = {next(iter(specs)): found}
        return {n: np.asarray(v, _dtype(specs, n)) for n, v in found.items()}

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Returns the server's JSON. NaN and Infinity are allowed."""
        data = None if body is None else json.dumps(body).encode()
        status, text = self._exchange(method, path, data)
        try:
            answer = json.loads(text)
        except ValueError as error:
            code = _CODES.get(status, f"HTTP {status}")
            shown = text[:200].decode(errors="replace")
            raise ServerError(
                code, f"no JSON, so no TensorFlow Serving? {shown}"
            ) from error
        if status != 200:
            message = str(answer.get("error", answer))
            raise ServerError(_CODES.get(status, f"HTTP {status}"), message)
        return answer

    def _exchange(
        self, method: str, path: str, data: bytes | None
    ) -> tuple[int, bytes]:
        """Returns the status and the body of an answer."""
        while True:
            try:
                connection, is_new = self._idle.pop(), False
            except IndexError:
                connection, is_new = self._connection(), True
            try:
                connection.request(
                    method, path, data, {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                result = response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # Servers close what is idle: that is no failure yet.
                if is_new or isinstance(error, TimeoutError):
                    raise _explained(error) from error
                continue
            self._idle.append(connection)
            return result

    def _connection(self) -> http.client.HTTPConnection:
        url = self._address.url
        kind = (
            http.client.HTTPSConnection
            if url.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(str(url.hostname), url.port, timeout=self._address.timeout)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _explained(error: Exception) -> Exception:
    """Returns a ConnectionError for what may be tried again, only."""
    if isinstance(error, TimeoutError | ConnectionError):
        return error
    if isinstance(error, http.client.IncompleteRead):
        return ConnectionError(f"The answer broke off: {error}")
    if isinstance(error, http.client.HTTPException):
        return ServerError(
            "HTTP", f"{error!r}, which is no HTTP. Is this the gRPC port?"
        )
    return ConnectionError(f"{type(error).__name__}: {error}")


def _refuse_halves(signature: Signature) -> None:
    specs = {**signature.inputs, **signature.outputs}
    halves = {n: s for n, s in specs.items() if s.dtype in _HALVES}
    if halves:
        raise ValueError(
            "TensorFlow Serving's REST API knows no half precision: "
            f"{describe(halves)}. Use gRPC: url='grpc://...:8500'"
        )


def _dtype(specs: Mapping[str, tf.TensorSpec], name: str) -> Any:
    return specs[name].dtype.as_numpy_dtype if name in specs else None


def _to_json(array: Array) -> Any:
    """Returns nested lists, with bytes in base 64 as the API says."""
    values = array.tolist()
    return _encode(values) if array.dtype == object else values


def _encode(value: Any) -> Any:
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value
