"""What a monitor refuses, and that nothing is written then."""

import numpy as np
import pytest

from tests.monitor import cases
from tests.monitor.cases import N
from tfpbnn import likelihoods

IDS = [f"row-{i}" for i in range(N)]
PREDICTION = cases.numbers()
NORMAL = likelihoods.Normal()
STEPS = type(PREDICTION)(PREDICTION.outputs[:, :, np.newaxis], NORMAL)
BAD = {
    "no prediction": (
        lambda m: m.log(IDS, np.zeros(N)),
        TypeError,
        "Predictive",
    ),
    "steps": (lambda m: m.log(IDS, STEPS), ValueError, "one place a row"),
    "ids": (
        lambda m: m.log(IDS[:3], PREDICTION),
        ValueError,
        "for each of the",
    ),
    "same ids": (
        lambda m: m.log(["a"] * N, PREDICTION),
        ValueError,
        "all different",
    ),
    "kind of ids": (
        lambda m: m.log([0.5] * N, PREDICTION),
        TypeError,
        "texts, integers or UUIDs",
    ),
    "a null in an id": (
        lambda m: m.log(["a\0", *IDS[1:]], PREDICTION),
        ValueError,
        "without the character 0. Received: 'a",
    ),
    "half a character": (
        lambda m: m.observe(["b\ud800"], [1.0]),
        ValueError,
        "in UTF-8",
    ),
    "meta": (
        lambda m: m.log(IDS, PREDICTION, {"a": [1, 2]}),
        ValueError,
        "one value for all rows",
    ),
    "meta's kind": (lambda m: m.log(IDS, PREDICTION, [1]), TypeError, "a dict"),
    "meta's values": (
        lambda m: m.log(IDS, PREDICTION, {"a": {1, 2}.__iter__}),
        TypeError,
        "`meta` must hold",
    ),
    "other model": (
        lambda m: m.log(IDS, cases.labels()),
        ValueError,
        "of the same kind",
    ),
    "labels": (
        lambda m: m.observe(IDS, [1.0]),
        ValueError,
        "for each of the 1",
    ),
    "shape": (lambda m: m.observe(IDS, np.zeros((N, 2))), ValueError, "`y`"),
    "nan": (lambda m: m.observe(["a"], [np.nan]), ValueError, "`y`"),
    "text": (lambda m: m.observe(["a"], ["b"]), TypeError, "`y`"),
    "window": (lambda m: m.status("soon"), ValueError, "`window`"),
    "empty window": (lambda m: m.status(0), ValueError, "`window`"),
    "keep": (lambda m: m.compact(keep=100), ValueError, "`keep`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_nothing_is_written(name, make):
    monitor = make()
    monitor.log(["first"], PREDICTION[:1])
    run, error, words = BAD[name]
    with pytest.raises(error, match=words):
        run(monitor)
    counts = monitor.status().counts
    assert counts["predictions"] == 1
    assert counts["labels"] == counts["waiting"] == 0


BAD_ARGUMENTS = {
    "name": ({"name": ""}, "`name`"),
    "window": ({"window": -1}, "`window`"),
    "buffer": ({"buffer": -1}, "`buffer`"),
    "alpha": ({"alpha": 1.5}, "`alpha`"),
    "control": ({"control": "x"}, "`control`"),
    "tolerance": ({"tolerance": 2}, "`tolerance`"),
    "no reference": ({"reference_y": [1]}, "`reference` must be given"),
    "no numbers": (
        {"reference": type(PREDICTION)(np.nan * PREDICTION.outputs, NORMAL)},
        "`reference` must have rows of finite numbers",
    ),
    "rows of y": (
        {"reference": PREDICTION, "reference_y": np.zeros(3)},
        "`reference_y` must have one row",
    ),
    "rows of inputs": (
        {"reference": PREDICTION, "reference_inputs": np.zeros((3, 2))},
        "`reference_inputs` must have one row",
    ),
    "url": ({"store": "nothing://at/all"}, "`store`"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(name, make):
    options, words = BAD_ARGUMENTS[name]
    with pytest.raises(ValueError, match=words):
        make(**options)
