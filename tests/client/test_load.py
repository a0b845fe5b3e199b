"""Many threads share a client, and the server batches them together."""

from concurrent import futures

import numpy as np
import pytest

from tests.client import models, serving
from tests.client.conftest import PROTOCOLS
from tfpbnn.client import TFServingClient


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_thread_gets_its_own_answer(protocol, version, start):
    batcher = serving.Batcher(window=0.02, multiple=16)
    core = serving.Core("bnn", {1: version}, batcher=batcher)
    rng = np.random.default_rng(2)
    xs = [rng.normal(size=(1 + i % 3, 3)) for i in range(96)]
    client = TFServingClient(start(protocol, core).url, "bnn")
    with client, futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(client.predict, xs))
    for x, p in zip(xs, found, strict=True):
        expected = np.einsum("bi,sio->sbo", x, models.KERNELS)[..., :1].mean(0)
        np.testing.assert_allclose(p.mean, expected, rtol=1e-4, atol=1e-5)
    assert sum(map(sum, batcher.sizes)) == sum(map(len, xs))
    assert max(map(len, batcher.sizes)) > 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_batching_servers_refuse_scalars(protocol, version, start):
    core = serving.Core("bnn", {1: version}, batcher=serving.Batcher(0.0, 1))
    client = TFServingClient(start(protocol, core).url, "bnn")
    x = np.ones((1, 3))
    with client, pytest.raises(RuntimeError, match="at least one dimension"):
        client.predict(x, signature="dynamic", seed=1, num_samples=2)
