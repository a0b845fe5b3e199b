"""Figures of one row, of NaN and of long names."""

import numpy as np
import pytest

from tfpbnn import plots
from tfpbnn.likelihoods import Categorical, Normal
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

RNG = np.random.default_rng(0)
NUMBERS = RegressionPredictive(RNG.normal(size=(5, 8, 2)), Normal())
CLASSES = ClassificationPredictive(RNG.normal(size=(5, 8, 3)), Categorical())
LABELS = RNG.integers(0, 3, 8)
NAN = np.where(np.arange(8)[:, np.newaxis] < 2, np.nan, CLASSES.outputs)
FAILED = ClassificationPredictive(NAN, Categorical())

# Figures of lines and bands along rows or steps.
OF_ONE = {
    "band": lambda: plots.predictive_band(NUMBERS[:1], [2.0]),
    "members": lambda: plots.member_predictions(NUMBERS[:1], [2.0]),
    "split": lambda: plots.variance_split(NUMBERS[:1]),
    "one epoch": lambda: plots.elbo(
        {"loss": [3.0], "kl": [2.0], "kl_weight": [0.1], "val_loss": [3.5]}
    ),
}


@pytest.mark.parametrize("name", OF_ONE)
def test_one_row_is_to_be_seen(name):
    (ax,) = OF_ONE[name]().axes
    bands = [band.get_paths()[0].vertices for band in ax.collections]
    lines = [line.get_xydata() for line in ax.lines]
    assert bands or lines
    for found in bands + lines:
        assert np.ptp(found[:, 0]) > 0


# Where a place that counts is NaN, no figure is silent.
OF_NAN = {
    "reliability": lambda: plots.reliability_diagram(FAILED, LABELS),
    "confusion": lambda: plots.confusion_by_confidence(FAILED, LABELS),
    "event": lambda: plots.event_calibration(FAILED, LABELS, event=1),
    "risk": lambda: plots.risk_coverage(FAILED, LABELS),
    "histogram": lambda: plots.uncertainty_histogram(FAILED),
    "foreign": lambda: plots.out_of_distribution(CLASSES, FAILED),
    "band": lambda: plots.predictive_band(NUMBERS, np.full(8, np.nan)),
    "fan": lambda: plots.fan_chart(NUMBERS, np.full(8, np.nan)),
}


@pytest.mark.parametrize("name", OF_NAN)
def test_nan_is_refused(name):
    with pytest.raises(ValueError, match=r"must (be|have) (finite|numbers)"):
        OF_NAN[name]()


def test_a_band_of_chance_is_a_density():
    figure = plots.pit_histogram(NUMBERS[:1], np.zeros(1))
    assert figure.axes[0].get_ylim()[0] == 0


def test_groups_differ_in_black_and_white():
    figure = plots.uncertainty_histogram({"seen": CLASSES, "new": CLASSES})
    hatches = {bar.get_hatch() for bar in figure.axes[0].patches}
    assert len(hatches) == 2


@pytest.mark.parametrize("kind", ["names", "legend"])
def test_long_names_are_inside_of_the_figure(kind):
    names = [f"a name of {i} that is long enough" for i in range(3)]
    if kind == "names":
        figure = plots.confusion_by_confidence(
            CLASSES, LABELS, class_names=names
        )
    else:
        figure = plots.uncertainty_histogram(dict.fromkeys(names, CLASSES))
    figure.draw_without_rendering()
    whole = figure.get_tightbbox()
    assert whole.x1 <= figure.get_figwidth() + 0.05
    assert min(whole.x0, whole.y0) >= -0.05
    assert whole.y1 <= figure.get_figheight() + 0.05
