"""Runs the scripts of this folder briefly, on the tests' stand-in server.

TensorFlow Serving itself is not needed: this shows that they work together,
and what they print; not how fast a server is.

    python examples/serving/smoke.py
"""

import argparse
import pathlib
import sys
import tempfile

import client
import export
import load_test

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.client import grpc_serving, serving


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="as always")
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        export.main(["--smoke", "--folder", f"{folder}/diabetes"])
        version = serving.Version(f"{folder}/diabetes/1")
    core = serving.Core("diabetes", {1: version})
    servers = serving.RestServer(core), grpc_serving.GrpcServer(core)
    for server in servers:
        print(f"\n{server.url}")
        client.main(["--smoke", "--url", server.url])
        repeated, errors = load_test.main(["--smoke", "--url", server.url])
        assert repeated == errors == 0
        server.stop()


if __name__ == "__main__":
    main()
