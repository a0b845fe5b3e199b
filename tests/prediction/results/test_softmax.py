"""Averages of softmax over draws, against SciPy's."""

import numpy as np
import pytest
from scipy import special

from tfpbnn import likelihoods
from tfpbnn.prediction.results import softmax
from tfpbnn.prediction.results.classification import ClassificationPredictive

rng = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    # In one block; in blocks of draws; of rows; of both, with places.
    [(3, 4, 2), (23, 2000, 10), (3, 9000, 17), (5, 61, 7, 501), (2, 1, 70000)],
)
def test_blocks_are_averaged_as_a_whole(shape, dtype):
    logits = rng.normal(0, 10, shape).astype(dtype)
    expected = special.softmax(logits.astype(float), -1).mean(0)
    found = softmax.mean(logits)
    assert found.dtype == np.float64
    rtol = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found, expected, rtol, 1e-9 * rtol)


@pytest.mark.parametrize("largest", [79.0, 81.0, 1e4, -1e4, np.nan])
def test_probabilities_of_large_logits(largest):
    """Also of those whose exponential is infinite; NaN stays NaN."""
    logits = rng.normal(size=(2, 5, 3)).astype("float32")
    logits[1, 2] = largest, 1.0, 2.0
    p = ClassificationPredictive(logits, likelihoods.Categorical())
    expected = special.softmax(logits.astype(float), -1).mean(0)
    np.testing.assert_allclose(p.probabilities, expected, 1e-5, 1e-9)


class Sharper(likelihoods.Categorical):
    """Its outputs are half of the logits."""

    def logits(self, outputs):
        return 2 * outputs


def test_other_likelihoods_say_what_their_outputs_mean():
    logits = rng.normal(size=(2, 5, 3)).astype("float32")
    of_probabilities = likelihoods.Categorical(from_logits=False)
    for likelihood, outputs in (
        (Sharper(), logits / 2),
        (of_probabilities, special.softmax(logits, -1)),
    ):
        p = ClassificationPredictive(outputs, likelihood)
        expected = special.softmax(logits, -1).mean(0)
        np.testing.assert_allclose(p.probabilities, expected, 1e-5)
