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


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("name", cases.CASES)
def test_losses_and_weights_are_those_of_one_device(trained, name, replicas):
    one, *several = trained[name]
    check_equal(one, several[replicas // 2 - 1])


def check_equal(one, several):
    for found in (one, several):
        assert not isinstance(found, str), found
    assert one["logs"].keys() == several["logs"].keys()
    for key, expected in one["logs"].items():
        np.testing.assert_allclose(
            several["logs"][key], expected, rtol=2e-6, err_msg=key
        )
    for found, expected in zip(several["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert one["noise"] == several["noise"]
