"""Calibrated probabilities, against those of other packages.

`tests/data/make_calibration.py` makes what is compared with.
"""

import json
import pathlib

import numpy as np
import pytest
from scipy import special

from tests.calibration import made
from tfpbnn import calibration

FILE = pathlib.Path(__file__).parents[1] / "data" / "calibration.json"
KEPT = json.loads(FILE.read_text())

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
