"""Conformal predictors say what is wrong with what they are given."""

import numpy as np
import pytest

from tests.calibration import made
from tests.calibration.test_conformal import SPLIT, labels, numbers
from tfpbnn import calibration, likelihoods


def fitted(name="LAC", rows=50, **kwargs):
    make, data = SPLIT[name]
    return make().fit(*data(rows), **kwargs)


BAD = {
    "too few": (
        lambda: fitted(rows=18, coverage=0.95),
        "19 or more targets .*Received: 18",
    ),
    "too few of a group": (
        lambda: fitted(rows=30, groups=np.arange(30) > 27),
        "9 or more .*in the group 'True' .*Received: 2",
    ),
    "coverage": (lambda: fitted(coverage=1.0), "`coverage` must be"),
    "not fitted": (lambda: calibration.LAC().sets(labels(5)[0]), "fitted on"),
    "kind": (
        lambda: calibration.CQR().fit(*labels(50)),
        "predictions of numbers",
    ),
    "other kind": (
        lambda: calibration.APS().fit(*numbers(50)),
        "one label of K classes",
    ),
    "several labels": (
        lambda: calibration.LAC().fit(
            made.labels(np.zeros((1, 9, 2)), likelihoods.Bernoulli()),
            np.zeros((9, 2)),
        ),
        "Give each of several labels",
    ),
    "groups of other rows": (
        lambda: fitted(groups=np.zeros(7)),
        "`groups` must be one name",
    ),
    "unknown groups": (
        lambda: fitted(groups=["a"] * 50).sets(labels(2)[0], groups=["a", "b"]),
        r"`groups` must be some of .*\['a'\].*\['b'\]",
    ),
    "no groups": (
        lambda: fitted(groups=["a"] * 50).sets(labels(2)[0]),
        "`groups` must be given",
    ),
    "groups too many": (
        lambda: fitted().sets(labels(2)[0], groups=[1, 1]),
        "`groups` must be None",
    ),
    "weights": (
        lambda: fitted(sample_weight=np.ones(50)).sets(labels(2)[0]),
        "`sample_weight` must be given",
    ),
    "class of numbers": (
        lambda: fitted("CQR", groups="class"),
        "is for labels",
    ),
    "soft labels": (
        lambda: calibration.LAC().fit(labels(50)[0], np.full((50, 5), 0.2)),
        "must be labels",
    ),
    "no noise": (
        lambda: calibration.NormalizedResidual().fit(
            type(numbers(50)[0]).without_draws(
                1,
                (np.zeros((50, 1)),) * 3,
                likelihoods.Normal(),
                "mean",
            ),
            np.zeros(50),
        ),
        "above 0",
    ),
    "another map": (
        lambda: fitted().sets(
            calibration.Temperature()
            .fit(*labels(50, 2))
            .transform(labels(2)[0])
        ),
        "calibrated as in `fit`.*Received: another one, where `fit` had none",
    ),
    "one pass": (
        lambda: fitted().sets(made.labels(made.classes(5, 5, draws=3)[0])),
        "by draws or by one pass, .* several draws, where `fit` had one pass",
    ),
    "another output": (
        lambda: fitted().sets(made.labels(made.classes(5, 4)[0])),
        "of the same output as in `fit`, .*: one of size 4, .* of size 5",
    ),
    "seed of a set without": (
        lambda: fitted().sets(labels(2)[0], seed=1),
        "must be None for sets without random numbers.*LAC",
    ),
    "seed and uniforms": (
        lambda: fitted("APS").sets(labels(2)[0], seed=1, uniforms=[0.1, 0.2]),
        "exclude each other",
    ),
    "seeds of other rows": (
        lambda: fitted("APS").sets(labels(2)[0], seed=[1, 2, 3]),
        "one for each of the 2 rows",
    ),
    "uniforms out of range": (
        lambda: fitted("APS").sets(labels(2)[0], uniforms=[0.1, 1.2]),
        "numbers from 0 to 1",
    ),
    "texts for uniforms": (
        lambda: fitted("APS").sets(labels(2)[0], uniforms=["a", "b"]),
        "must hold numbers",
    ),
    "several outputs": (
        lambda: calibration.LAC().fit({"kind": labels(9)[0]}, labels(9)[1]),
        "must be the prediction of one output, .*Received: dict",
    ),
    "uniforms of other rows": (
        lambda: fitted("APS").sets(labels(2)[0], uniforms=np.zeros(3)),
        r"numbers from 0 to 1, .*shape \(3,\)",
    ),
    "penalty": (lambda: calibration.RAPS(-1.0), "`penalty` must be"),
    "seed": (lambda: calibration.APS(seed=-1), "`seed` must be"),
    "level": (lambda: calibration.CQR(1.5), "`level` must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, words = BAD[name]
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"class_name": "float32", "config": {}}')
    with pytest.raises((TypeError, ValueError)):
        calibration.load(path)
