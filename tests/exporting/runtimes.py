"""Where the tests run exports: the C runtime, and a model server if any."""

import atexit
import concurrent.futures
import functools
import json
import os
import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

PROGRAM = pathlib.Path(__file__).with_name("c_runtime.py")


class CRuntime:
    """TensorFlow's C runtime, in a process of its own."""

    name = "C runtime"

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _ask(self, method, path, *arguments):
        pickle.dump((method, str(path), *arguments), self._process.stdin)
        self._process.stdin.flush()
        is_ok, value = pickle.load(self._process.stdout)
        if not is_ok:
            raise RuntimeError(value)
        return value

    def signatures(self, path):
        """{signature: ({input: (_, _, shape)}, {output: ..})}."""
        return self._ask("signatures", path)

    def run(self, path, signature, **inputs):
        return self._ask("run", path, signature, inputs)

    def timed(self, path, signature, count, **inputs):
        return self._ask("timed", path, signature, inputs, count)

    def stress(self, path, signature, threads, requests, **inputs):
        return self._ask("stress", path, signature, inputs, threads, requests)

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@functools.cache
def c_runtime():
    """The one that tests share; it takes two seconds to start."""
    runtime = CRuntime()
    atexit.register(runtime.close)
    return runtime


def found():
    """The classes of those that are there; a skip for the server if not."""
    server = os.environ.get("TFPBNN_MODEL_SERVER", "tensorflow_model_server")
    reason = (
        "no tensorflow_model_server on PATH, and TFPBNN_MODEL_SERVER names none"
    )
    skip = pytest.mark.skipif(shutil.which(server) is None, reason=reason)
    return [CRuntime, pytest.param(ModelServer, marks=skip)]


class ModelServer:
    """`tensorflow_model_server`, a process for each export, over REST."""

    name = "model server"

    def __init__(self):
        name = os.environ.get("TFPBNN_MODEL_SERVER", "tensorflow_model_server")
        self._binary = shutil.which(name)
        self._servers = {}

    def _url(self, path):
        if path not in self._servers:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            process = subprocess.Popen(
                [
                    self._binary,
                    "--port=0",
                    f"--rest_api_port={port}",
                    "--model_name=model",
                    f"--model_base_path={pathlib.Path(path).parent}",
                    "--enable_batching",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            url = f"http://127.0.0.1:{port}/v1/models/model"
            self._servers[path] = process, url
            _wait_for(url)
        return self._servers[path][1]

    def signatures(self, path):
        answer = _get(f"{self._url(path)}/metadata")
        found = answer["metadata"]["signature_def"]["signature_def"]
        return {
            name: tuple(
                {key: _info(info) for key, info in definition[kind].items()}
                for kind in ("inputs", "outputs")
            )
            for name, definition in found.items()
            if not name.startswith("__")
        }

    def run(self, path, signature, **inputs):
        named = {name: np.asarray(v).tolist() for name, v in inputs.items()}
        body = {"signature_name": signature, "inputs": named}
        outputs = _get(f"{self._url(path)}:predict", body)["outputs"]
        if not isinstance(outputs, dict):  # one output has no name
            (name,) = self.signatures(path)[signature][1]
            outputs = {name: outputs}
        return {name: np.array(v, "float32") for name, v in outputs.items()}

    def stress(self, path, signature, threads, requests, **inputs):
        def ask(_):
            return self.run(path, signature, **inputs)

        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(ask, range(threads * requests)))
        return answers, [], time.perf_counter() - start

    def close(self):
        for process, _ in self._servers.values():
            process.terminate()
            process.wait()


def _info(info):
    sizes = [int(d["size"]) for d in info["tensor_shape"].get("dim", [])]
    return None, None, [None if size < 0 else size for size in sizes]


def _get(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(url, data, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from error


def _wait_for(url):
    for _ in range(120):
        try:
            state = _get(url)["model_version_status"][0]["state"]
            if state == "AVAILABLE":
                return
        except (OSError, RuntimeError):
            pass
        time.sleep(0.5)
    raise RuntimeError(f"no answer from {url}")
