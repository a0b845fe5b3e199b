"""Stands in for TensorFlow Serving: its two APIs, on models in this process."""

import collections
import json
import pathlib
import re
import threading
import time
from concurrent import futures
from http import server as http_server

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from tests.client import json_rules
from tests.client.json_rules import Refused, invalid

HTTP_STATUS = {
    "DEADLINE_EXCEEDED": 504,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "UNAVAILABLE": 503,
    "UNIMPLEMENTED": 501,
}


class Version:
    """One SavedModel."""

    def __init__(self, path):
        self.loaded = tf.saved_model.load(path)
        proto = saved_model_pb2.SavedModel()
        proto.ParseFromString(
            (pathlib.Path(path) / "saved_model.pb").read_bytes()
        )
        self.signatures = dict(proto.meta_graphs[0].signature_def)
        self.signatures.pop("__saved_model_init_op", None)

    def signature(self, name):
        if name not in self.signatures:
            raise invalid(f'signature name: "{name}" not found')
        return self.signatures[name]

    def run(self, name, inputs, fill_in=True):
        proto = self.signature(name)
        if fill_in:
            defaults = {
                n: tf.make_ndarray(t) for n, t in proto.defaults.items()
            }
            inputs = {**defaults, **inputs}
        if set(inputs) != set(proto.inputs):
            raise invalid(
                f"keys must be equal to: {','.join(sorted(proto.inputs))}"
            )
        tensors = {
            n: tf.constant(array, tf.as_dtype(proto.inputs[n].dtype))
            for n, array in inputs.items()
        }
        try:
            outputs = self.loaded.signatures[name](**tensors)
        except (tf.errors.InvalidArgumentError, TypeError) as error:
            raise invalid(str(error)) from error
        return {n: tensor.numpy() for n, tensor in outputs.items()}


class Batcher:
    """Puts requests that arrive within a moment into one padded batch."""

    def __init__(self, window, multiple):
        self.window, self.multiple = window, multiple
        self.lock = threading.Lock()
        self.waiting = collections.defaultdict(list)
        self.sizes = []

    def run(self, version, name, inputs):
        if any(np.ndim(array) == 0 for array in inputs.values()):
            raise invalid(
                "Batching Run() input tensors must have at least one dimension"
            )
        task = inputs, futures.Future()
        key = id(version), name
        with self.lock:
            self.waiting[key].append(task)
            is_first = len(self.waiting[key]) == 1
        if is_first:
            time.sleep(self.window)
            with self.lock:
                tasks = self.waiting.pop(key)
            self._run_together(version, name, tasks)
        return task[1].result(timeout=30)

    def _run_together(self, version, name, tasks):
        sizes = [len(next(iter(inputs.values()))) for inputs, _ in tasks]
        self.sizes.append(sizes)
        padding = -sum(sizes) % self.multiple
        joined = {
            n: np.concatenate(
                [inputs[n] for inputs, _ in tasks]
                + [tasks[-1][0][n][:1]] * padding
            )
            for n in tasks[0][0]
        }
        try:
            outputs = version.run(name, joined, fill_in=False)
        except Refused as error:
            for _, future in tasks:
                future.set_exception(error)
            return
        ends = np.cumsum(sizes)
        for size, end, (_, future) in zip(sizes, ends, tasks, strict=True):
            rows = slice(end - size, end)
            future.set_result({n: a[rows] for n, a in outputs.items()})


class Core:
    """What both APIs ask: one model, its versions and labels.

    Attributes:
        refusal: if set, an error that is answered to every prediction.
        released: predictions wait until it is set, 30 seconds at most.
        calls: how many predictions arrived.
    """

    def __init__(self, name, versions, labels=(), batcher=None):
        self.name, self.labels = name, dict(labels)
        self.versions = dict(versions)
        self.batcher, self.refusal = batcher, None
        self.released = threading.Event()
        self.released.set()
        self.calls = 0

    def version(self, name, number=None, label=None):
        """The number of a version that is asked for, and the version."""
        if name != self.name:
            raise Refused(
                "NOT_FOUND", f"Servable not found for request: Latest({name})"
            )
        if label:
            if label not in self.labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            number = self.labels[label]
        number = number or max(self.versions)
        if number not in self.versions:
            raise Refused(
                "NOT_FOUND",
                f"Servable not found for request: Specific({name}, {number})",
            )
        return number, self.versions[number]

    def predict(self, version, signature, inputs, fill_in):
        self.calls += 1
        self.released.wait(30)
        if self.refusal:
            raise self.refusal
        if self.batcher:
            return self.batcher.run(version, signature, inputs)
        return version.run(signature, inputs, fill_in)


PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<number>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<what>/metadata|:predict)?"
)


class _Handler(http_server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or head and body wait for each other
    core = None

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._answer(b"")

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        self._answer(self.rfile.read(size))

    def _answer(self, body):
        try:
            status, text = 200, self._result(body)
        except Refused as error:
            status = HTTP_STATUS[error.code]
            text = json.dumps({"error": error.message})
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _result(self, body):
        match = PATH.fullmatch(self.path)
        if not match:
            raise invalid(f"Malformed request: {self.command} {self.path}")
        number, version = self.core.version(
            match["name"], int(match["number"] or 0), match["label"]
        )
        if match["what"] == ":predict":
            name, layout, arrays = json_rules.read(
                body, lambda name: self._specs(version, name)
            )
            outputs = self.core.predict(version, name, arrays, fill_in=False)
            return json_rules.write(outputs, layout)
        if match["what"] == "/metadata":
            return json.dumps(self._metadata(number, version))
        return json.dumps(self._status(match))

    def _specs(self, version, name):
        inputs = version.signature(name).inputs
        return {n: tf.as_dtype(inputs[n].dtype) for n in sorted(inputs)}

    def _metadata(self, number, version):
        protos = {
            name: json_format.MessageToDict(
                proto, preserving_proto_field_name=True
            )
            for name, proto in version.signatures.items()
        }
        spec = {"name": self.core.name, "version": str(number)}
        wrapped = {"signature_def": {"signature_def": protos}}
        return {"model_spec": spec, "metadata": wrapped}

    def _status(self, match):
        asked = match["number"] or match["label"]
        numbers = self.core.versions
        if asked:
            numbers = [
                self.core.version(
                    match["name"], int(match["number"] or 0), match["label"]
                )[0]
            ]
        fine = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [
                {"version": str(n), "state": "AVAILABLE", "status": fine}
                for n in numbers
            ]
        }


class RestServer(http_server.ThreadingHTTPServer):
    """The REST API on a free port; first drops `drops` connections."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, core, drops=0):
        handler = type("Handler", (_Handler,), {"core": core})
        super().__init__(("127.0.0.1", 0), handler)
        self.drops, self.accepted = drops, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), daemon=True
        )
        self.thread.start()

    def verify_request(self, request, client_address):
        self.accepted += 1
        return self.accepted > self.drops

    def stop(self):
        self.shutdown()
        self.server_close()
