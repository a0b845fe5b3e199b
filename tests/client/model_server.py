"""The real TensorFlow Serving, where there is one."""

import os
import shutil
import socket
import subprocess

import pytest

from tfpbnn.client import TFServingClient

BINARY = os.environ.get("TFPBNN_MODEL_SERVER") or shutil.which(
    "tensorflow_model_server"
)
needs_model_server = pytest.mark.skipif(
    not BINARY,
    reason="needs tensorflow_model_server on PATH, or TFPBNN_MODEL_SERVER",
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ModelServer:
    """A process that serves the versions in a folder, by both protocols.

    Attributes:
        urls: by protocol.
    """

    def __init__(self, name, folder):
        ports = {"grpc": free_port(), "rest": free_port()}
        self.urls = {
            "grpc": f"grpc://127.0.0.1:{ports['grpc']}",
            "rest": f"http://127.0.0.1:{ports['rest']}",
        }
        self.process = subprocess.Popen(
            [
                BINARY,
                f"--port={ports['grpc']}",
                f"--rest_api_port={ports['rest']}",
                f"--model_name={name}",
                f"--model_base_path={folder.absolute()}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # It listens once the model is loaded and warm.
        with TFServingClient(self.urls["rest"], name, max_retries=10) as client:
            assert set(client.status().values()) == {"AVAILABLE"}

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
