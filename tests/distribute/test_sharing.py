"""Predictions and chains are the same on any number of devices and workers."""

import json

import numpy as np
import pytest

from tests import fresh
from tests.distribute import predicting

RUN = """
import sys
from tests.distribute import sharing
getattr(sharing, sys.argv[1])(*sys.argv[2:])
"""
CASES = [*predicting.CASES, "two"]
# Sums over workers' parts have the same terms in the same order.
EXACT = 0.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharing")


@pytest.fixture(scope="module")
def devices(folder):
    fresh.run(RUN, "devices", str(folder / "devices"))
    return json.loads((folder / "devices").read_text())


@pytest.fixture(scope="module")
def workers(folder, devices):
    fresh.run(RUN, "fork", str(folder), str(folder / "devices.pickle"))
    found = [json.loads((folder / f"{i}.json").read_text()) for i in range(2)]
    assert not any("failed" in one for one in found), found
    return found


@pytest.mark.parametrize("name", CASES)
def test_predictions_of_devices_are_those_of_one(devices, name):
    assert devices[name]
    assert max(devices[name]) == EXACT


def test_all_devices_work_with_their_own_copies(devices):
    assert devices["used"] == ["CPU:0", "CPU:1", "CPU:2", "CPU:3"]
    assert devices["moved"] == [0, 1]


@pytest.mark.parametrize("name", ["chains", "rows", "numbers"])
def test_chains_and_posteriors_of_devices_are_those_of_one(devices, name):
    assert max(devices[name]) == EXACT


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other scope", ["ValueError: `model` must be used under", "saved"]),
        ("servers", ["ValueError: The strategy", "ParameterServer"]),
        ("shards", ["ValueError: `row_shards`", "30", "29 rows"]),
        ("no number", ["ValueError: `row_shards`", "Received: row_shards=0"]),
    ],
)
def test_what_devices_cannot_share(devices, name, words):
    for word in words:
        assert word in devices["errors"][name]


@pytest.mark.parametrize("name", predicting.OF_WORKERS)
def test_predictions_of_workers_are_those_of_one(workers, name):
    for found in workers:
        assert found[name]
        assert max(found[name]) == EXACT


@pytest.mark.parametrize("name", ["chains", "scores"])
def test_all_workers_have_the_same_results(workers, name):
    for found in workers:
        assert max(found[name]) == EXACT


def test_workers_know_each_other(workers):
    assert [found["worker"] for found in workers] == [[0, 2], [1, 2]]
    assert [found["shares"] for found in workers] == [["x", "xx"]] * 2
    one, other = (found["seeds"] for found in workers)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("nan", "RuntimeError: Worker 1 has failed", "ValueError: `x`"),
        ("arguments", "`num_samples` must be the same in all", None),
        ("state", "`model` must keep no state", None),
        ("pooled", "`kernel` must be", None),
        ("data", "`data` must be the same in all workers", None),
    ],
)
def test_each_worker_is_told_what_they_cannot_share(
    workers, name, first, second
):
    words = first, second or first
    for found, word in zip(workers, words, strict=True):
        assert word in found["errors"][name]
