import math
import re

import numpy as np
import pytest

from tfpbnn.base import checks

# A check, what it lets through, what it refuses, and what it says it expects.
CASES = [
    (checks.positive_number, [1e-9, 3], [0, -1, math.inf], "a positive, fin"),
    (checks.non_negative, [0, 2.5], [-1e-9, math.inf], "a finite number >= 0"),
    (checks.finite, [-2, 0.0], [math.inf], "a finite number"),
    (checks.fraction, [0, 0.5, 1], [-0.1, 1.1], "a number from 0 to 1"),
    (checks.open_fraction, [0.5], [0, 1], "a number between 0 and 1, excl"),
    (checks.rate, [0, 0.9], [1, -0.1], "a number from 0 to below 1"),
    (checks.positive_integer, [1, 7], [0, -1, 1.0, True], "a positive int"),
]


@pytest.mark.parametrize(("check", "good", "bad", "expected"), CASES)
def test_a_check_gives_its_value_or_names_the_argument(
    check, good, bad, expected
):
    for value in good:
        assert check("size", value) == value
        assert check("size", np.asarray(value)[()]) == value
        assert type(check("size", value)) in (int, float)
        assert check.optional("size", value) == value
    assert check.optional("size", None) is None
    for value in [*bad, math.nan, "1", None]:
        said = re.escape(f"Received: size={value!r}")
        with pytest.raises(ValueError, match=f"^`size` must be {expected}.*"):
            check("size", value)
        with pytest.raises(ValueError, match=said):
            check("size", value)
    with pytest.raises(ValueError, match=r"be None \(own\) or a .*=-1"):
        (check if check is not checks.finite else checks.rate).optional(
            "size", -1, "own"
        )


def test_integers():
    assert checks.integer("k", np.int64(2), least=2) == 2
    with pytest.raises(ValueError, match=r"`k` must be an integer of 2 or .*1"):
        checks.integer("k", 1, least=2)
    assert checks.integers("k", 2, 3) == (2, 2, 2)
    assert checks.integers("k", [0, 1], 2, least=0) == (0, 1)
    for value in (0, [1], [1, 2.0], "ab", None, True):
        with pytest.raises(ValueError, match=r"1 or more, or 2 of them.*k="):
            checks.integers("k", value, 2)


def test_one_of_and_seed():
    assert checks.one_of("unit", "epoch", ("step", "epoch")) == "epoch"
    with pytest.raises(ValueError, match=r"`unit` .*\['step'\].*unit='x'"):
        checks.one_of("unit", "x", ("step",))
    assert checks.seed(None) is None
    assert checks.seed(np.int32(3)) == 3
    with pytest.raises(TypeError, match=r"`seed` must be None or an int.*1.5"):
        checks.seed(1.5)
