"""Bad input of scores of ranks and selection is an error that says what."""

import numpy as np
import pytest

from tfpbnn import likelihoods, metrics
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

TARGETS, MEANS = np.random.default_rng(0).normal(size=(2, 24, 2))
P = RegressionPredictive(
    np.random.default_rng(0).normal(size=(3, 8, 4)), likelihoods.Normal()
)
C = ClassificationPredictive(
    np.random.default_rng(0).normal(size=(3, 8, 3)), likelihoods.Categorical()
)
Y8 = np.arange(8) % 3
WRONG = {
    "one class": (lambda: metrics.auroc([1, 1], [0.1, 0.2]), "and negatives"),
    "never wrong": (
        lambda: metrics.auroc(C.labels, C, event="error"),
        "all are negative",
    ),
    "no event": (lambda: metrics.auroc(Y8, C), "`event` must say what is"),
    "event of scores": (
        lambda: metrics.aupr(Y8 == 1, Y8, event="ood"),
        "`event` and `by` must be None",
    ),
    "label of three": (
        lambda: metrics.auroc(Y8, C, event="label"),
        "`event` must be 'error' or 'ood'",
    ),
    "error of numbers": (
        lambda: metrics.auroc(Y8, P, event="error"),
        "`y_pred` must be a prediction of labels",
    ),
    "labels as events": (
        lambda: metrics.auroc(Y8, C.mean[:, 0]),
        "`y_true` must hold booleans, or 0 and 1",
    ),
    "nan score": (
        lambda: metrics.auroc([0, 1], [np.nan, 1.0]),
        "`y_pred` must be numbers",
    ),
    "nan uncertainty": (
        lambda: metrics.aurc(Y8, C, by=np.full(8, np.nan)),
        "`by` must be numbers where",
    ),
    "unknown name": (
        lambda: metrics.aurc(Y8, C, by="doubt"),
        "`name` must be one of",
    ),
    "name for an array": (
        lambda: metrics.aurc(Y8, C.mean, by="variance"),
        "`by` must be an array",
    ),
    "none for an array": (
        lambda: metrics.ause(TARGETS, MEANS),
        "`by` must be an array",
    ),
    "length of by": (
        lambda: metrics.aurc(Y8, C, by=np.ones(7)),
        "`by` must be the name of an uncertainty",
    ),
    "loss of numbers": (
        lambda: metrics.aurc(Y8, C, loss="squared_error"),
        "`loss` must be one of",
    ),
    "one-hot or numbers": (
        lambda: metrics.aurc(np.eye(3)[Y8], C.mean, by=np.ones(8)),
        "`loss` must be given where `y_true` looks like one-hot",
    ),
    "error of labels": (
        lambda: metrics.ause(Y8, C, error="rmse"),
        r"`error` must be one of \['brier', 'error', 'nll'\]",
    ),
    "coverage 0": (
        lambda: metrics.risk_at_coverage(Y8, C, coverage=0),
        "`coverage` must be above 0",
    ),
    "tpr": (
        lambda: metrics.fpr_at_tpr([0, 1], [0, 1], tpr=95),
        "`tpr` must be above 0",
    ),
    "cost": (
        lambda: metrics.scod_aurc(Y8, C, is_ood=Y8 == 1, ood_cost=2),
        "`ood_cost` must be a number from 0 to 1",
    ),
    "foreign rows": (
        lambda: metrics.scod_aurc(Y8, C, is_ood=np.ones(7, bool)),
        "`is_ood` must be one boolean",
    ),
    "other places": (
        lambda: metrics.in_and_out(np.ones((3, 2)), np.ones((3, 4))),
        "`outside` must have the places",
    ),
    "no rows": (
        lambda: metrics.crps(np.ones((0, 2)), P[:0]),
        "have a place that counts",
    ),
    "no mean": (
        lambda: metrics.rmse(
            np.ones((8, 2)),
            RegressionPredictive(P.outputs, likelihoods.StudentT(df=0.5)),
        ),
        "`y_pred` must be finite",
    ),
    "no variance": (
        lambda: metrics.ause(
            np.ones((8, 2)),
            RegressionPredictive(P.outputs, likelihoods.StudentT(df=1.0)),
        ),
        "must be ",
    ),
    "seed": (
        lambda: metrics.energy_score(np.ones((8, 2)), P, seed="0"),
        "`seed` must be None or an integer",
    ),
    "two outputs": (
        lambda: metrics.rmse([Y8, Y8], [P, P]),
        "must be one prediction",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    call, message = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
