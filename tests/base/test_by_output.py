"""What belongs to outputs, by their names, and to places, by their axes."""

from collections import OrderedDict

import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.base.by_output import by_output, names_of
from tfpbnn.base.places import over_places

A, B = np.zeros(3), np.ones(3)


@pytest.mark.parametrize(
    ("outputs", "known", "expected"),
    [
        (0, ["dense"], ["dense"]),
        (0, [], ["output"]),
        ([0, 0], ["z", "a"], ["z", "a"]),
        ([0, 0, 0], ["d", "d", "d_1"], ["d", "d_1", "d_1_1"]),
        ([0, 0], ["output"], ["output/0", "output/1"]),
        ({"z": 0, "a": 0}, ["d1", "d2"], ["a", "z"]),
        (OrderedDict(z=0, a=0), ["d1", "d2"], ["z", "a"]),
        ({"z": 0, "a": {"c": 0, "b": 0}}, [], ["a/b", "a/c", "z"]),
    ],
)
def test_names_of(outputs, known, expected):
    assert names_of(outputs, known) == expected


@pytest.mark.parametrize(
    ("given", "needed", "expected"),
    [
        ({"z": A, "a": B}, None, [A, B]),
        ({"a": B, "z": A}, None, [A, B]),
        ([A, B], None, [A, B]),
        ((A, B), None, [A, B]),
        ({"a": B}, ["a"], [None, B]),
        ({"a": B, "z": None}, ["a"], [None, B]),
        ([None, B], ["a"], [None, B]),
        ([B], ["a"], [None, B]),
        (B, ["a"], [None, B]),
        ([1.0, 2.0], ["a"], [None, [1.0, 2.0]]),
    ],
)
def test_by_output(given, needed, expected):
    found = by_output("`y`", given, ["z", "a"], needed)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is other or one == other


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": A}, r"\['z', 'a'\]. Received: \['z'\], without \['a'\]"),
        ({"z": A, "a": B, "c": B}, r"with the unknown \['c'\]"),
        ([A], r"each of the model's 2 outputs, \['z', 'a'\]. Received: 1"),
        ([A, B, B], "Received: 3"),
        (A, "Received: 1"),
    ],
)
def test_missing_and_unknown_names_raise(given, message):
    with pytest.raises(ValueError, match=message):
        by_output("`y`", given, ["z", "a"])


@pytest.mark.parametrize("of", [np.ones, tf.ones])
@pytest.mark.parametrize(
    ("shape", "places", "expected"),
    [
        ((), (3, 4), (1, 1)),
        ((3,), (3, 4), (3, 1)),
        ((3, 1), (3, 4), (3, 1)),
        ((3, 4), (3, 4), (3, 4)),
        ((3, 4, 1), (3, 4), (3, 4)),
        ((3, 1), (3,), (3,)),
        ((3, 4), (3, None), (3, 4)),
        ((4,), (3, 4), None),
        ((3, 5), (3, 4), None),
        ((3, 4, 2), (3, 4), None),
    ],
)
def test_over_places(of, shape, places, expected):
    found = over_places(of(shape), places)
    assert (None if found is None else tuple(found.shape)) == expected
