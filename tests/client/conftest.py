import importlib.util

import pytest

from tests.client import models, serving

HAS_GRPC = all(
    importlib.util.find_spec(name) for name in ("grpc", "tensorflow_serving")
)
needs_grpc = pytest.mark.skipif(
    not HAS_GRPC,
    reason="needs tensorflow-serving-api and grpcio: tfpbnn[serving]",
)
PROTOCOLS = ["rest", pytest.param("grpc", marks=needs_grpc)]


@pytest.fixture(scope="session")
def version(tmp_path_factory):
    return serving.Version(models.save(tmp_path_factory.mktemp("served")))


@pytest.fixture
def core(version):
    return serving.Core("bnn", {1: version}, {"stable": 1})


@pytest.fixture
def start():
    """Starts a server of either protocol; all stop with the test."""
    servers = []

    def run(protocol, core, **options):
        if protocol == "grpc":
            from tests.client import grpc_serving

            servers.append(grpc_serving.GrpcServer(core, **options))
        else:
            servers.append(serving.RestServer(core, **options))
        return servers[-1]

    yield run
    for server in servers:
        server.stop()
