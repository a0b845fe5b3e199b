"""Training on several replicas is training on one device."""

import json

import numpy as np
import pytest

from tests import fresh
from tests.distribute import cases

RUN = """
import sys
from tests.distribute import programs
getattr(programs, sys.argv[1])(*sys.argv[2:])
"""


def results(folder, program, *arguments):
    """What a program of `programs` writes."""
    path = folder / "found.json"
    fresh.run(RUN, program, str(path), *arguments)
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return results(tmp_path_factory.mktemp("parity"), "parity")


RUNS = [(name, "2") for name in cases.CASES if name != "even"]
RUNS += [("even", "1"), ("deferred", "4")]


@pytest.mark.parametrize(("name", "replicas"), RUNS)
def test_losses_and_weights_are_those_of_one_device(trained, name, replicas):
    check_equal(trained[name]["plain"], trained[name][replicas])


def check_equal(one, several):
    for found in (one, several):
        assert not isinstance(found, str), found
    # Keras numbers the layers, and so the outputs, of a process.
    logs = zip(several["logs"].items(), one["logs"].items(), strict=True)
    for (key, value), (_, expected) in logs:
        np.testing.assert_allclose(value, expected, rtol=2e-6, err_msg=key)
    for found, expected in zip(several["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert one["noise"] == several["noise"]
