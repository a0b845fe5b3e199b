"""Replicas draw noise of their own, the same whenever they are run again."""

import numpy as np
import pytest
from scipy import stats

from tests.distribute.noises import LAYERS
from tests.distribute.test_parity import results


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return results(tmp_path_factory.mktemp("noise"), "noise")


@pytest.mark.parametrize("name", LAYERS)
def test_each_replica_and_call_has_its_own_draw(found, name):
    first, again = np.array(found[name]["draws"])
    np.testing.assert_array_equal(first, again)
    rows = first.reshape(4, -1)  # two calls of two replicas
    assert len(np.unique(rows, axis=0)) == 4
    assert found[name]["counts"] == [2] * 2


def test_the_variance_of_gradients_falls_as_one_over_replicas(found):
    """A gradient is 2 sigma eps. False alarms: 1 in 10,000."""
    one, four = (np.array(found["gradients"][count]) for count in ("1", "4"))
    ratio = np.mean(one**2) / np.mean(four**2)
    low, high = stats.f.ppf([5e-5, 1 - 5e-5], one.size, four.size)
    assert 4 * low < ratio < 4 * high


def test_a_training_goes_on_from_its_backup_bit_for_bit(found):
    whole, restarted = found["restarted 0"], found["restarted 1"]
    for expected, value in zip(whole, restarted, strict=True):
        np.testing.assert_array_equal(value, expected)
