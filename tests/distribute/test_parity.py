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
CASES = list(cases.CASES)


@pytest.fixture(scope="module", params=[2, 4])
def trained(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("parity") / "found.json"
    fresh.run(RUN, "parity", str(path), str(request.param))
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_those_of_one_device(trained, name):
    assert not isinstance(trained[name], str), trained[name]
    one, several = trained[name]
    for part in ("history", "scores", "weights"):
        assert one[part].keys() == several[part].keys()
        for key, expected in one[part].items():
            np.testing.assert_allclose(
                several[part][key], expected, rtol=2e-6, atol=1e-6, err_msg=key
            )
    assert one["states"] == several["states"]
