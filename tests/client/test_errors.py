"""Errors say what is wrong; only what reached no server is tried again."""

import builtins
import threading

import numpy as np
import pytest

from tests.client import json_rules, serving
from tests.client.conftest import PROTOCOLS, needs_grpc
from tests.client.model_server import free_port
from tfpbnn.client import ServerError, TFServingClient, retries

X = np.ones((2, 3), "float32")


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture
def connect(protocol, core, start):
    url = start(protocol, core).url
    clients = []

    def make(*arguments, **options):
        clients.append(TFServingClient(url, *(arguments or ["bnn"]), **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (X[:, :2], {}, r"`features` must be float32 \[None, 3\].*\[2, 2\]"),
        (X[0], {}, r"Received: an array of shape \[3\]"),
        (X[:0], {}, "at least one row"),
        (X.astype(str), {}, "`features` must be float32.*<U"),
        ({"a": X}, {}, r"signature lacks: \['a'\]. It takes features: float32"),
        ({}, {}, r"lacks the inputs \['features'\]"),
        (X, {"seed": 1}, "`seed` is an input of the signatures `seeded`"),
        (X, {"signature": "seeded", "seed": [1, 2, 3]}, "each of the 2 rows"),
        (X, {"signature": "seeded", "seed": 0.5}, "`seed` must be int64"),
        (X, {"signature": "words"}, "`x` must be a dict.*number: int32"),
        (
            {"word": [["a"]], "number": [[1], [2]]},
            {"signature": "words"},
            "as many in each input",
        ),
        (
            {"word": [["a"]], "number": [[2**40]]},
            {"signature": "words"},
            "`number` must be int32.*1099511627776",
        ),
    ],
)
def test_inputs_that_do_not_fit(start, core, x, options, message):
    client = TFServingClient(start("rest", core).url, "bnn")
    with client, pytest.raises(ValueError, match=message):
        client.predict(x, **options)
    assert core.calls == 0


def test_what_does_not_exist(connect):
    for client, message in [
        (connect("other"), "no model 'other'; names are those of"),
        (connect(version=7), r"no version 7 to ask. It has .*\{1: 'AVAILABLE"),
        (connect(label="canary"), "no label 'canary' to ask. It has .*AVAIL"),
        (connect(signature="sample"), "no signature 'sample'. It has: classes"),
    ]:
        with pytest.raises(LookupError, match=message):
            client.predict(X)
    with pytest.raises(LookupError, match="no version 7"):
        connect(version=7).status()


def test_what_the_server_answers_is_not_asked_again(connect, core):
    client = connect()
    for code in ("INVALID_ARGUMENT", "UNAVAILABLE"):
        core.calls = 0
        core.refusal = json_rules.Refused(code, "the queue is full")
        with pytest.raises(ServerError, match="the queue is full") as caught:
            client.predict(X)
        assert caught.value.code == code
        assert core.calls == 1
    core.refusal = None
    assert len(client.predict(X)) == 2


def test_timeout_is_not_tried_again(connect, core):
    client = connect(timeout=1.0)
    client.metadata()
    core.released.clear()
    with pytest.raises(TimeoutError, match="did not answer in time"):
        client.predict(X)
    core.released.set()
    assert core.calls == 1
    assert len(client.predict(X)) == 2


def test_server_down(protocol, monkeypatch):
    waits = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    scheme = {"rest": "http", "grpc": "grpc"}[protocol]
    url = f"{scheme}://127.0.0.1:{free_port()}"
    client = TFServingClient(url, "bnn", max_retries=8)
    with pytest.raises(ConnectionError, match=f"{url} in 9 attempts.*running"):
        client.predict(X)
    # Twice as long each time, less up to half of it at random, 10 s at most.
    longest = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert len(waits) == 8
    assert all(m / 2 <= w <= m for w, m in zip(waits, longest, strict=True))


def test_connections_that_are_dropped_are_tried_again(core, start):
    server = start("rest", core, drops=2)
    with TFServingClient(server.url, "bnn", max_retries=2) as client:
        assert len(client.predict(X)) == 2
    assert server.accepted == 3  # one connection for metadata and prediction
    server = start("rest", core, drops=2)
    client = TFServingClient(server.url, "bnn", max_retries=1)
    with client, pytest.raises(ConnectionError, match="2 attempts"):
        client.predict(X)


@needs_grpc
def test_server_that_starts_late_or_again(core, start):
    port = free_port()
    later = threading.Timer(0.3, start, ["grpc", core], {"port": port})
    later.start()
    url = f"grpc://127.0.0.1:{port}"
    with TFServingClient(url, "bnn", max_retries=7) as client:
        assert len(client.predict(X)) == 2
        later.join()


def test_connection_that_the_server_closed_is_no_failure(core, start):
    class Closing(serving.RestServer):
        def shutdown_request(self, request):
            super().shutdown_request(request)
            closed.set()

    closed = threading.Event()
    server = Closing(core)
    server.RequestHandlerClass.timeout = 0.5  # of what is idle
    with TFServingClient(server.url, "bnn", max_retries=0) as client:
        client.predict(X)
        assert closed.wait(5)
        client.predict(X)
    assert server.accepted > 1
    server.stop()


def test_new_version_is_noticed(connect, core):
    client = connect()
    assert client.metadata().version == 1
    core.versions[2] = core.versions.pop(1)
    with pytest.raises(LookupError, match="no signature"):
        client.predict(X, signature="none")
    assert client.metadata().version == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8501"}, "`url` must be like"),
        ({"version": 1, "label": "stable"}, "exclude each other"),
        ({"timeout": 0}, "`timeout` must be a positive"),
        ({"max_retries": -1}, "`max_retries` must be an integer of 0 or more"),
    ],
)
def test_arguments(options, message):
    options = {"url": "http://localhost:8501", "model_name": "m", **options}
    with pytest.raises(ValueError, match=message):
        TFServingClient(**options)


def test_grpc_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith(("grpc", "tensorflow_serving")):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install tfpbnn\[serving\]"):
        TFServingClient("grpc://localhost:8500", "bnn")
