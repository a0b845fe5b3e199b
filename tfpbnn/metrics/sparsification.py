"""Scores whether the error falls as it could when the uncertain are removed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, ranking_curves, rows
from tfpbnn.metrics.losses import Losses, is_labels, losses
from tfpbnn.metrics.ranking_curves import RiskCoverage

# The loss that each error is a mean of; of "rmse" it is the root of the mean.
_OF_LABELS = {"brier": "brier", "error": "error", "nll": "nll"}
_OF_NUMBERS = {"mae": "absolute_error", "rmse": "squared_error"}


class Sparsification(NamedTuple):
    """The error of the places that are left, by the share that is removed.

    Attributes:
        removed: the shares, from 0 to 1, `[m]`.
        error: the error without the most uncertain places, `[m]`.
        best: the least error there is, without those of the highest, `[m]`.
    """

    removed: Array
    error: Array
    best: Array


def sparsification_curve(
    y_true: Any,
    y_pred: Any,
    *,
    error: str | None = None,
    by: Any = None,
    is_normalized: bool = True,
    num_points: int = 101,
    sample_weight: Any = None,
) -> Sparsification:
    """Computes the error of what is left when the most uncertain are removed.

    Args:
        y_true: labels, or targets that are numbers, `[N, ...]`.
        y_pred: a `Predictive`; or probabilities `[N, ..., K]`; or predicted
            numbers of the shape of the targets.
        error: of labels "brier" (the default), "nll" or "error"; of numbers
            "rmse" (the default) or "mae". Each target of a row is a place of
            its own.
        by: the uncertainty, as in `risk_coverage_curve`.
        is_normalized: whether errors are divided by that of all places.
        num_points: the number m of shares, 2 or more.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.

    Returns:
        `(removed, error, best)`, `[m]` each. Where all are removed it is the
        error of the last.

    Reference:
        [Ilg et al., 2018](https://arxiv.org/abs/1802.07095)

    Example:
    ```python
    y, mean = np.array([0.0, 1.0, 2.0]), np.array([0.1, 1.3, 1.0])
    curve = tfpbnn.metrics.sparsification_curve(y, mean, by=[0.2, 0.3, 0.9])
    ```
    """
    checks.integer("num_points", num_points, least=2)
    read, root = _read(y_true, y_pred, error, by, sample_weight)
    removed = np.linspace(0, 1, num_points)
    weights = read.rows.weights
    found = []
    for score in (read.score, read.loss):
        curve = ranking_curves.risk_coverage(read.loss, score, weights)
        found.append(root(_risks(curve, 1 - removed)))
    scale = found[0][0] if is_normalized and found[0][0] > 0 else 1.0
    return Sparsification(removed, found[0] / scale, found[1] / scale)


def ause(
    y_true: Any,
    y_pred: Any,
    *,
    error: str | None = None,
    by: Any = None,
    is_normalized: bool = True,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the area between the curve of sparsification and the best one.

    It is 0 if the uncertainty ranks places as their errors do. It says nothing
    of the size of the uncertainty.

    Args:
        y_true, y_pred, error, by: as in `sparsification_curve`.
        is_normalized: whether errors are divided by that of all places, so that
            models of different errors can be compared.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The area, 0 or more; lower is better. It is 0 too if there is no error.

    Reference:
        [Ilg et al., 2018](https://arxiv.org/abs/1802.07095)

    Example:
    ```python
    y, mean = np.array([0.0, 1.0, 2.0]), np.array([0.1, 1.3, 1.0])
    tfpbnn.metrics.ause(y, mean, by=[0.2, 0.3, 0.9])        # 0.0
    ```
    """
    read, root = _read(y_true, y_pred, error, by, sample_weight)
    area: Any = ranking_curves.area
    area = ranking_curves.root_area if root is np.sqrt else area

    def statistic(weights: Array) -> float:
        own, best = (
            ranking_curves.risk_coverage(read.loss, score, weights)
            for score in (read.score, read.loss)
        )
        whole = float(root(own.risk[-1]))
        if whole == 0:
            return 0.0
        return (area(own) - area(best)) / (whole if is_normalized else 1.0)

    return bootstrap.estimate(statistic, read.rows, n_boot, seed, level)


def _read(
    y_true: Any, y_pred: Any, error: str | None, by: Any, sample_weight: Any
) -> tuple[Losses, Callable[[Any], Any]]:
    """Reads the losses, and what makes the error of their mean."""
    known = _OF_LABELS | _OF_NUMBERS
    if rows.is_predictive(y_pred) or error is None:
        of_labels = is_labels(y_true, y_pred)
        known = _OF_LABELS if of_labels else _OF_NUMBERS
        error = ("brier" if of_labels else "rmse") if error is None else error
    checks.one_of("error", error, sorted(known))
    read = losses(y_true, y_pred, known[error], by, sample_weight)
    return read, np.sqrt if error == "rmse" else np.asarray


def _risks(curve: RiskCoverage, coverage: Array) -> Array:
    """Computes the mean loss at any coverages; at 0 that of the first step."""
    known = np.concatenate([[0.0], curve.coverage])
    totals = np.concatenate([[0.0], curve.coverage * curve.risk])
    found = np.interp(coverage, known, totals)
    within = coverage > curve.coverage[0]
    return np.where(within, found / np.maximum(coverage, 1e-300), curve.risk[0])
