"""Scores how well uncertainty says which predictions to keep.

Places are kept from the least uncertain on; the rest is referred to someone
else. Between two thresholds any share of the places of equal uncertainty may
be kept, so curves are integrated without a rule of quadrature, ties are as
their average over all orders, and a row of weight 2 is that row twice.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, ranking_curves, rows
from tfpbnn.metrics.losses import Losses, losses
from tfpbnn.metrics.ranking_curves import RiskCoverage


def risk_coverage_curve(
    y_true: Any,
    y_pred: Any,
    *,
    loss: str | None = None,
    by: Any = None,
    sample_weight: Any = None,
) -> RiskCoverage:
    """Computes the mean loss of the places kept, by the share that is.

    Args:
        y_true: labels, or targets that are numbers, `[N, ...]`.
        y_pred: a `Predictive`; or probabilities `[N, ..., K]`; or predicted
            numbers of the shape of the targets.
        loss: of labels "error" (the default), "brier" or "nll" in nats; of
            numbers "squared_error" (the default) or "absolute_error". Each
            target of a row is a place of its own.
        by: the uncertainty: a name of `tfpbnn.metrics.uncertainty`, or an array
            with the first axes of the targets; None for one minus the
            probability of the top class, or the variance of a prediction of
            numbers.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.

    Returns:
        `(coverage, risk, threshold)`, `[m]` each for m different uncertainties.

    Reference:
        [Geifman and El-Yaniv, 2017](https://arxiv.org/abs/1705.08500)

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    curve = tfpbnn.metrics.risk_coverage_curve([0, 1, 1], p)
    curve.coverage, curve.risk      # (1/3, 2/3, 1), (0, 0, 1/3)
    ```
    """
    read = losses(y_true, y_pred, loss, by, sample_weight)
    return ranking_curves.risk_coverage(
        read.loss, read.score, read.rows.weights
    )


def aurc(
    y_true: Any,
    y_pred: Any,
    *,
    loss: str | None = None,
    by: Any = None,
    is_excess: bool = False,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the area under the curve of risk and coverage.

    It is the mean loss of the places kept, averaged over all shares that may
    be. It is an integral over all coverages from 0 to 1; the mean over the n
    coverages 1/n, 2/n, ..., 1, and trapezoids between these, are other
    approximations, and come near it as 1/n.

    Args:
        y_true, y_pred, loss, by: as in `risk_coverage_curve`.
        is_excess: whether to take away the area of the best order, by the loss
            itself (E-AURC). Of n places with the share r of errors it is `r +
            (1 - r) log(1 - r)`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The area, in units of the loss; lower is better. A random order has the
        mean loss.

    Reference:
        [Geifman et al., 2019](https://arxiv.org/abs/1805.08206)

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    tfpbnn.metrics.aurc([0, 1, 1], p)                   # 0.063
    ```
    """
    read = losses(y_true, y_pred, loss, by, sample_weight)
    area = ranking_curves.area
    of = _excess(area) if is_excess else area
    return _score(of, read, n_boot, seed, level, is_excess)


def augrc(
    y_true: Any,
    y_pred: Any,
    *,
    loss: str | None = None,
    by: Any = None,
    is_excess: bool = False,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the area under the generalized curve of risk and coverage.

    The generalized risk is the loss that is kept, per place of all: the risk
    times the coverage. Unlike `aurc` it gives the few surest places no more
    weight than others. Of errors it is `r (1 - AUROC) (1 - r) + r^2 / 2`, with
    the share r of errors and the AUROC of the event "error".

    Args:
        y_true, y_pred, loss, by: as in `risk_coverage_curve`.
        is_excess: whether to take away the area of the best order, by the loss
            itself.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The area, in units of the loss; lower is better. A random order has half
        of the mean loss.

    Reference:
        [Traub et al., 2024](https://arxiv.org/abs/2407.01032)

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    tfpbnn.metrics.augrc([0, 1, 1], p)                  # 0.056
    ```
    """
    read = losses(y_true, y_pred, loss, by, sample_weight)
    area = ranking_curves.generalized_area
    of = _excess(area) if is_excess else area
    return _score(of, read, n_boot, seed, level, is_excess)


def risk_at_coverage(
    y_true: Any,
    y_pred: Any,
    *,
    coverage: float = 0.8,
    loss: str | None = None,
    by: Any = None,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean loss where a share of places has to be kept.

    The threshold is the least that keeps this share or more: places of equal
    uncertainty are all kept.

    Args:
        y_true, y_pred, loss, by: as in `risk_coverage_curve`.
        coverage: the share to keep, above 0 and up to 1.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The risk, in units of the loss; lower is better.

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    tfpbnn.metrics.risk_at_coverage([0, 1, 1], p, coverage=0.9)     # 1/3
    ```
    """
    check = checks.number("above 0 and up to 1", lambda v: 0 < v <= 1)
    coverage = check("coverage", coverage)

    def risk(curve: RiskCoverage) -> float:
        index = np.searchsorted(curve.coverage, coverage * (1 - 1e-12))
        return float(curve.risk[index])

    read = losses(y_true, y_pred, loss, by, sample_weight)
    return _score(risk, read, n_boot, seed, level)


def coverage_at_risk(
    y_true: Any,
    y_pred: Any,
    *,
    risk: float = 0.05,
    loss: str | None = None,
    by: Any = None,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the greatest share to keep at a mean loss up to `risk`.

    Args:
        y_true, y_pred, loss, by: as in `risk_coverage_curve`.
        risk: the mean loss that is allowed, in units of the loss.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The share, from 0 to 1; higher is better. It is 0 if no threshold has so
        low a risk.

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    tfpbnn.metrics.coverage_at_risk([0, 1, 1], p)       # 2/3
    ```
    """
    risk = checks.finite("risk", risk)

    def share(curve: RiskCoverage) -> float:
        allowed = curve.risk <= risk + 1e-12 * abs(risk)
        return float(np.max(curve.coverage, where=allowed, initial=0.0))

    read = losses(y_true, y_pred, loss, by, sample_weight)
    return _score(share, read, n_boot, seed, level)


def scod_aurc(
    y_true: Any,
    y_pred: Any,
    *,
    is_ood: Any,
    by: Any = None,
    ood_cost: float = 0.5,
    is_generalized: bool = False,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the area under risk and coverage, with rows that are foreign.

    This is selective classification with out-of-distribution data (SCOD): what
    is kept costs `1 - ood_cost` if it is an error, and `ood_cost` if it is out
    of the distribution, right or wrong. It depends on the share of such rows.

    Args:
        y_true: the labels, `[N, ...]`; any where `is_ood` is true.
        y_pred: a prediction of labels, or probabilities `[N, ..., K]`, of the
            rows in and out of the distribution together.
        is_ood: booleans that say which rows, or places, are out of it.
        by: the uncertainty, as in `risk_coverage_curve`.
        ood_cost: the cost of keeping a row out of the distribution, from 0 to
            1. (The beta of Xia and Bouganis is one less it.)
        is_generalized: whether the area is that of `augrc`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The area, from 0 to 1; lower is better.

    Reference:
        [Xia and Bouganis, 2022](https://arxiv.org/abs/2207.07506); [Narasimhan
        et al., 2023](https://arxiv.org/abs/2301.12386)

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    tfpbnn.metrics.scod_aurc([0, 1, 0], p, is_ood=[False, False, True])
    ```
    """
    ood_cost = checks.fraction("ood_cost", ood_cost)
    foreign: Array = rows.array("is_ood", is_ood).astype(bool)
    y = _without(rows.array("y_true", y_true), foreign, y_pred)
    read = losses(y, y_pred, "error", by, sample_weight)
    is_out = losses(y, y_pred, "error", foreign, sample_weight).score
    costs = np.where(is_out > 0, ood_cost, (1 - ood_cost) * read.loss)
    of: Any = ranking_curves.area
    of = ranking_curves.generalized_area if is_generalized else of
    return _score(of, read._replace(loss=costs), n_boot, seed, level)


def _without(y: Array, foreign: Array, y_pred: Any) -> Array:
    """Replaces labels out of the distribution, of which there are none."""
    is_ours = rows.is_predictive(y_pred)
    shape = y_pred.outputs_shape if is_ours else np.shape(y_pred)
    is_out = over_places(foreign, y.shape)
    if is_out is None:
        raise ValueError(
            "`is_ood` must be one boolean for each row or place of `y_true`, "
            f"{y.shape}. Received: is_ood of shape {foreign.shape}"
        )
    if y.shape == shape and y.ndim > 1 and shape[-1] > 1:
        return np.ma.where(is_out, 1 / shape[-1], y)
    ignored = getattr(y_pred.likelihood, "ignore_class", None) if is_ours else 1
    return np.ma.where(is_out, 1 if ignored == 0 else 0, y)


def _excess(of: Callable[[RiskCoverage], float]) -> Callable[..., float]:
    """Makes a score less that of the best order."""

    def less(curve: RiskCoverage, best: RiskCoverage) -> float:
        return of(curve) - of(best)

    return less


def _score(
    of: Callable[..., float],
    read: Losses,
    n_boot: int | None,
    seed: int | None,
    level: float,
    has_best: bool = False,
) -> float:
    """Computes a score of the curve, and of the best one if it takes that."""

    def statistic(weights: Array) -> float:
        curve = ranking_curves.risk_coverage(read.loss, read.score, weights)
        if not has_best:
            return of(curve)
        return of(
            curve, ranking_curves.risk_coverage(read.loss, read.loss, weights)
        )

    return bootstrap.estimate(statistic, read.rows, n_boot, seed, level)
