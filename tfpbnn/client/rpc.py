"""This asks TensorFlow Serving by gRPC, with the extra `serving`."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Array
from tfpbnn.client import transport
from tfpbnn.client.errors import ServerError
from tfpbnn.client.signatures import Metadata, Signature, from_proto

# Any size of message; and a pool of its own, since a new channel would share
# with the last one the pause after its failure.
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]
_MOMENT = 0.1


class GrpcTransport:
    """This makes calls on one channel, which all threads share."""

    fills_in_defaults = True

    def __init__(self, address: transport.Address):
        self._grpc, self._api = _import()
        self._url, self._timeout = address.url, address.timeout
        self._model = {"name": address.model_name}
        self._spec: dict[str, Any] = dict(self._model)
        if address.version is not None:
            self._spec["version"] = {"value": address.version}
        if address.label is not None:
            self._spec["version_label"] = address.label
        self._channel: Any = None
        self._lock = threading.Lock()

    def metadata(self) -> Metadata:
        api = self._api
        request = api.get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        answer = self._call(
            lambda channel: self._predictions(channel).GetModelMetadata,
            request,
        )
        found = api.get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return Metadata(
            self._model["name"],
            answer.model_spec.version.value,
            {n: from_proto(p) for n, p in sorted(found.signature_def.items())},
        )

    def status(self, any_version: bool) -> dict[int, str]:
        api = self._api
        request = api.get_model_status_pb2.GetModelStatusRequest(
            model_spec=self._model if any_version else self._spec
        )
        answer = self._call(
            lambda channel: (
                api.model_service_pb2_grpc.ModelServiceStub(
                    channel
                ).GetModelStatus
            ),
            request,
        )
        return {
            v.version: transport.state(
                v.State.Name(v.state), v.status.error_message
            )
            for v in answer.model_version_status
        }

    def predict(
        self,
        inputs: Mapping[str, Array],
        name: str,
        signature: Signature,
    ) -> dict[str, Array]:
        request = self._api.predict_pb2.PredictRequest(
            model_spec={**self._spec, "signature_name": name},
            inputs={
                n: tf.make_tensor_proto(array, signature.inputs[n].dtype)
                for n, array in inputs.items()
            },
        )
        answer = self._call(
            lambda channel: self._predictions(channel).Predict, request
        )
        return {n: tf.make_ndarray(t) for n, t in answer.outputs.items()}

    def close(self) -> None:
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = None

    def _predictions(self, channel: Any) -> Any:
        return self._api.prediction_service_pb2_grpc.PredictionServiceStub(
            channel
        )

    def _call(self, method: Callable[[Any], Any], request: Any) -> Any:
        channel = self._connect()
        try:
            return method(channel)(request, timeout=self._timeout)
        except self._grpc.RpcError as error:
            code, details = error.code(), error.details()
        codes = self._grpc.StatusCode
        if code is codes.DEADLINE_EXCEEDED:
            raise TimeoutError(f"No answer within {self._timeout} s")
        # Both a lost connection and a busy server say so: the server, if there
        # still is a connection, was reached.
        if code is codes.UNAVAILABLE and not self._is_ready(channel):
            self._drop(channel)
            raise ConnectionError(details)
        raise ServerError(code.name, details)

    def _connect(self) -> Any:
        """Returns a channel that has reached a server."""
        with self._lock:
            if self._channel is None:
                self._channel = self._new_channel()
            return self._channel

    def _new_channel(self) -> Any:
        grpc = self._grpc
        target = self._url.netloc
        if self._url.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials()
            channel = grpc.secure_channel(target, credentials, _OPTIONS)
        else:
            channel = grpc.insecure_channel(target, _OPTIONS)
        state = grpc.ChannelConnectivity
        ends = {state.READY, state.TRANSIENT_FAILURE}
        found = _wait_for(channel, ends, self._timeout, try_to_connect=True)
        if found is state.READY:
            return channel
        channel.close()
        if found is state.TRANSIENT_FAILURE:
            raise ConnectionError("failed to connect")
        raise TimeoutError(f"No connection within {self._timeout} s")

    def _is_ready(self, channel: Any) -> bool:
        """Returns whether there is a connection, also after a moment."""
        state = self._grpc.ChannelConnectivity
        others = set(state) - {state.READY}
        found = _wait_for(channel, others, _MOMENT, try_to_connect=False)
        return found is state.READY

    def _drop(self, channel: Any) -> None:
        """Lets the next call make a new one; others may be using this."""
        with self._lock:
            if self._channel is channel:
                self._channel = None
                channel.close()


def _wait_for(
    channel: Any, ends: set[Any], timeout: float, try_to_connect: bool
) -> Any:
    """Returns the first state among `ends`, or else the last in time."""
    states: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listen = states.put
    channel.subscribe(listen, try_to_connect=try_to_connect)
    found, end = None, time.monotonic() + timeout
    try:
        while found not in ends:
            found = states.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        pass
    finally:
        channel.unsubscribe(listen)
    return found


def _import() -> tuple[Any, Any]:
    try:
        import grpc
        from tensorflow_serving import apis
        from tensorflow_serving.apis import (  # noqa: F401
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError as error:
        raise ImportError(
            "gRPC needs tensorflow-serving-api and grpcio: "
            "pip install tfpbnn[serving]. REST needs neither: "
            "url='http://...:8501'"
        ) from error
    return grpc, apis
