"""Calibrated probabilities, sets and intervals against other packages.

`tests/data/make_calibration.py` makes what torch-uncertainty and netcal say,
and `make_conformal.py` what MAPIE and crepes do.
"""

import json
import pathlib

import numpy as np
import pytest
from scipy import special

from tests.calibration import made
from tfpbnn import calibration

DATA = pathlib.Path(__file__).parents[1] / "data"
KEPT = json.loads((DATA / "calibration.json").read_text())
CONFORMAL = json.loads((DATA / "conformal.json").read_text())
INPUTS = {name: np.array(one) for name, one in CONFORMAL["inputs"].items()}
HELD, NEW = slice(0, CONFORMAL["rows"]), slice(CONFORMAL["rows"], None)

# Name: the calibrator, and how far probabilities may be from theirs.
METHODS = {
    "Temperature": (calibration.Temperature, 5e-5),
    "VectorScaling": (calibration.VectorScaling, 1e-4),
    "MatrixScaling": (lambda: calibration.MatrixScaling(0, 0), 1e-4),
    "Dirichlet": (lambda: calibration.Dirichlet(0, 0), 1e-4),
    "HistogramBinning": (
        lambda: calibration.HistogramBinning(8, "width"),
        1e-6,
    ),
    # Which cuts its bins elsewhere between two rows, and begins at two bins.
    "BBQ": (calibration.BBQ, 0.04),
}


@pytest.mark.parametrize("name", METHODS)
def test_probabilities_are_those_of_torch_uncertainty_or_netcal(name):
    make, tolerance = METHODS[name]
    logits, new = np.array(KEPT["logits"]), np.array(KEPT["new"])
    if name == "VectorScaling":
        # That of netcal begins with probabilities.
        logits, new = (special.log_softmax(z, axis=-1) for z in (logits, new))
    found = make().fit_arrays(logits, KEPT["labels"])
    new = made.labels(new[np.newaxis])
    probabilities = found.transform(new).probabilities
    expected = np.array(KEPT["expected"][name])
    assert np.abs(new.probabilities - expected).max() > 0.05
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)


def by_group(name):
    """What `fit` and new rows are given, for groups of a kind."""
    if name != "groups":
        return ({"groups": name} if name == "class" else {}), {}
    return {name: INPUTS[name][HELD]}, {name: INPUTS[name][NEW]}


@pytest.mark.parametrize("name", CONFORMAL["sets"])
def test_sets_are_those_of_mapie_and_crepes(name):
    held, new = by_group(name)
    p = made.labels(INPUTS["logits"][np.newaxis])
    found = calibration.LAC().fit(
        p[HELD], INPUTS["labels"][HELD], CONFORMAL["coverage"], **held
    )
    sets = found.sets(p[NEW], **new)
    np.testing.assert_array_equal(sets, CONFORMAL["sets"][name])


@pytest.mark.parametrize("name", CONFORMAL["intervals"])
def test_intervals_are_those_of_crepes(name):
    held, new = by_group(name)
    mean, scale = INPUTS["mean"], INPUTS["scale"]
    outputs = np.stack([mean, np.log(np.expm1(scale - 1e-6))], -1)
    p = made.normal(outputs[np.newaxis])
    cls = getattr(calibration, name, calibration.AbsoluteResidual)
    found = cls().fit(p[HELD], INPUTS["y"][HELD], CONFORMAL["coverage"], **held)
    ends = np.concatenate(found.interval(p[NEW], **new), axis=-1)
    np.testing.assert_allclose(ends, CONFORMAL["intervals"][name], atol=2e-6)
