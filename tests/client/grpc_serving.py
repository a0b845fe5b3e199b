"""The gRPC API of the stand-in for TensorFlow Serving."""

import contextlib
from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.client.json_rules import Refused


@contextlib.contextmanager
def answered(context):
    """Refusals become gRPC's."""
    try:
        yield
    except Refused as error:
        context.abort(grpc.StatusCode[error.code], error.message)


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core):
        self.core = core

    def version(self, spec):
        return self.core.version(
            spec.name, spec.version.value, spec.version_label
        )

    def Predict(self, request, context):
        with answered(context):
            number, version = self.version(request.model_spec)
            name = request.model_spec.signature_name or "serving_default"
            inputs = {n: tf.make_ndarray(t) for n, t in request.inputs.items()}
            outputs = self.core.predict(version, name, inputs, fill_in=True)
        spec = {"name": self.core.name, "version": {"value": number}}
        return predict_pb2.PredictResponse(
            model_spec=spec,
            outputs={n: tf.make_tensor_proto(a) for n, a in outputs.items()},
        )

    def GetModelMetadata(self, request, context):
        with answered(context):
            number, version = self.version(request.model_spec)
        spec = {"name": self.core.name, "version": {"value": number}}
        answer = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=spec
        )
        answer.metadata["signature_def"].Pack(
            get_model_metadata_pb2.SignatureDefMap(
                signature_def=version.signatures
            )
        )
        return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core):
        self.core = core

    def GetModelStatus(self, request, context):
        spec = request.model_spec
        with answered(context):
            number, _ = self.core.version(
                spec.name, spec.version.value, spec.version_label
            )
        is_one = spec.version.value or spec.version_label
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[
                {"version": n, "state": available}
                for n in ([number] if is_one else self.core.versions)
            ]
        )


class GrpcServer:
    """The gRPC API, on a free port unless told."""

    def __init__(self, core, port=0):
        # Not shared: a second server on a port must fail, not steal calls.
        options = [("grpc.so_reuseport", 0)]
        self.server = grpc.server(
            futures.ThreadPoolExecutor(16), options=options
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Predictions(core), self.server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _Models(core), self.server
        )
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.server.start()

    def stop(self):
        self.server.stop(None).wait()
