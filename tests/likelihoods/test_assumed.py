"""What plain losses assume of the noise, where data show another one."""

import warnings

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.likelihoods import assumed, from_loss
from tfpbnn.prediction import RegressionPredictive
from tfpbnn.training import data_checks

SPREAD = np.linspace(-1.0, 1.0, 40)[:, np.newaxis] * 3**0.5  # stddev about 1


@pytest.mark.parametrize(
    "loss", ["mse", "mae", keras.losses.MeanSquaredError()]
)
@pytest.mark.parametrize(
    ("factor", "words"),
    [(100.0, "too narrow"), (2.0, ""), (1.0, ""), (0.001, "too wide")],
)
def test_targets(loss, factor, words):
    found = assumed.of_targets(from_loss(loss), factor * SPREAD + 1e3)
    assert words in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize(
    ("likelihood", "y"),
    [
        (tfpbnn.likelihoods.Normal(scale=0.7), 100 * SPREAD),  # somebody's own
        (tfpbnn.likelihoods.Normal(), 100 * SPREAD),  # learned
        (from_loss("mse"), 100 * SPREAD[:5]),  # few rows may be chance
        (from_loss("mse"), SPREAD * np.nan),
        (from_loss("mse"), SPREAD * 0),
        (from_loss("mse"), np.array(["a"] * 40)),
    ],
)
def test_no_words(likelihood, y):
    assert not assumed.of_targets(likelihood, y)


@pytest.mark.parametrize("error", [0.001, 1.0, 50.0])
@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_evaluate_warns_of_errors(loss, error):
    y = error * SPREAD
    p = RegressionPredictive(np.zeros((3, 40, 1), "float32"), from_loss(loss))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        scores = p.evaluate(y)
    np.testing.assert_allclose(
        scores["rmse"], error * np.std(SPREAD), rtol=1e-6
    )
    if error == 1.0:
        assert not found
    else:
        width = "wide" if error < 1 else "narrow"
        assert f"intervals are far too {width}" in str(found[0].message)
        assert found[0].filename == __file__


def test_fit_and_what_reads_targets_warn():
    model = tfpbnn.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="the network learn it, by the loss"):
        model.fit(SPREAD, 100 * SPREAD, verbose=0)
    with pytest.warns(UserWarning, match=r"'mean_squared_error' of `a` says"):
        data_checks.check_values(
            100 * SPREAD, from_loss("mse"), model.outputs[0], " of `a`"
        )
    noise = tfpbnn.calibration.Scale().fit(
        RegressionPredictive(np.zeros((1, 40, 1), "float32"), from_loss("mse")),
        100 * SPREAD,
    )
    data_checks.check_values(
        100 * SPREAD, from_loss("mse").recalibrated(noise), model.outputs[0]
    )
