"""Two workers on this machine train as one device, and survive a kill."""

import json
import pathlib

import numpy as np
import pytest

from tests import fresh
from tests.distribute import cases, cluster
from tests.distribute.test_parity import check_equal

RUN = """
import sys
from tests.distribute import cluster
cluster.run(sys.argv[1])
"""
WORKERS = (0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("workers")
    fresh.run(RUN, str(path))
    return path


def found(folder, name, index):
    path = pathlib.Path(folder) / f"{name} {index}.json"
    error = path.with_suffix(".error")
    assert path.exists(), error.read_text() if error.exists() else name
    return json.loads(path.read_text())


@pytest.mark.parametrize("index", WORKERS)
@pytest.mark.parametrize("name", ["masked", "normalized"])
def test_losses_and_weights_are_those_of_one_device(folder, name, index):
    one = found(folder, "whole", 0)["alone"][name]
    check_equal(one, found(folder, "whole", index)["shared"][name])


def test_shuffled_rows_are_seen_once_in_an_epoch(folder):
    seen = found(folder, "whole", 0)["mean of y"]
    np.testing.assert_allclose(seen, [cases.Y.mean()] * 2, rtol=1e-5)


MESSAGES = {
    "seed": "must agree in the seed",
    "no seed": "set_random_seed",
    "optimizer": "must agree in the optimizer",
    "rows": "must agree in the number of rows",
    "versions": "must agree in the versions",
}


@pytest.mark.parametrize("index", WORKERS)
@pytest.mark.parametrize("name", cluster.DISAGREE)
def test_workers_that_disagree_say_so_before_a_step(folder, name, index):
    message = found(folder, "whole", index)["errors"][name]
    assert message.startswith("ValueError")
    assert MESSAGES[name] in message


@pytest.mark.parametrize("index", WORKERS)
def test_a_killed_training_ends_as_if_it_was_not(folder, index):
    """The first worker was killed, and in the next run the second one."""
    ended = f"killed {index} {index}"  # neither well nor by an error
    assert not list(folder.glob(f"{ended}.*"))
    assert not list(folder.glob("killed *.json"))
    again = found(folder, "again", index)
    whole = found(folder, "whole", index)["weights"]
    for restored, expected in zip(again, whole, strict=True):
        np.testing.assert_array_equal(restored, expected)
