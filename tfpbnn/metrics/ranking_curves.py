"""Sorts scores and losses into curves, with ties and weights.

Rows of equal score can't be told apart by any threshold, so they are one step
of a curve. All numbers depend on weights by their ratios alone, and a row of
weight 2 is that row twice.
"""

from typing import NamedTuple

import numpy as np

from tfpbnn.base.types import Array


class Found(NamedTuple):
    """What thresholds find, from the strictest to one that takes all.

    Attributes:
        hits: the weight of positives at or above each threshold, `[m]`.
        alarms: the weight of negatives there, `[m]`.
        thresholds: the scores, falling, `[m]`.
    """

    hits: Array
    alarms: Array
    thresholds: Array


def found(is_positive: Array, score: Array, weights: Array) -> Found:
    """Counts, for each score as a threshold, the rows at or above it.

    Args:
        is_positive: booleans, `[n]`.
        score: numbers, `[n]`.
        weights: numbers of 0 or more, `[n]`.
    """
    thresholds, sums = _by_score(
        -score, weights * is_positive, weights * ~is_positive
    )
    hits, alarms = np.cumsum(sums, axis=1)
    return Found(hits, alarms, -thresholds)


def auroc(rates: Found) -> float:
    """Computes P(positive above negative), where ties count a half."""
    new = np.diff(rates.hits, prepend=0.0)
    # Each positive is beside the negatives below it.
    below = rates.alarms[-1] - rates.alarms
    tied = np.diff(rates.alarms, prepend=0.0)
    pairs = rates.hits[-1] * rates.alarms[-1]
    return float(np.sum(new * (below + 0.5 * tied)) / pairs)


def average_precision(rates: Found) -> float:
    """Computes the area under precision and recall, as a sum of steps."""
    new = np.diff(rates.hits, prepend=0.0) / rates.hits[-1]
    taken = rates.hits + rates.alarms
    return float(np.sum(new * rates.hits / taken))


def false_positive_rate(rates: Found, level: float) -> float:
    """Computes the rate of false alarms where `level` of positives are found.

    The threshold is the highest that finds as many, without interpolation.
    """
    index = np.searchsorted(rates.hits, level * rates.hits[-1] * (1 - 1e-12))
    return float(rates.alarms[index] / rates.alarms[-1])


class RiskCoverage(NamedTuple):
    """The risk of the rows that are kept, by how many are.

    Attributes:
        coverage: the share of rows at or below each threshold, rising to 1,
            `[m]`.
        risk: their mean loss, `[m]`.
        threshold: the uncertainty up to which rows are kept, `[m]`.
    """

    coverage: Array
    risk: Array
    threshold: Array


def risk_coverage(loss: Array, score: Array, weights: Array) -> RiskCoverage:
    """Computes the mean loss of the rows of the lowest scores.

    Args:
        loss: the losses, `[n]`.
        score: the uncertainties, `[n]`.
        weights: numbers of 0 or more, `[n]`, not all 0.
    """
    thresholds, sums = _by_score(score, weights, weights * loss)
    kept, losses = np.cumsum(sums, axis=1)
    return RiskCoverage(kept / kept[-1], losses / kept, thresholds)


class _Segments(NamedTuple):
    """Losses of kept rows as a function of coverage, linear between steps.

    On each of m segments the total is `offset + slope * coverage`.
    """

    start: Array
    stop: Array
    offset: Array
    slope: Array


def _segments(curve: RiskCoverage) -> _Segments:
    stop, total = curve.coverage, curve.coverage * curve.risk
    start = np.concatenate([[0.0], stop[:-1]])
    before = np.concatenate([[0.0], total[:-1]])
    slope = (total - before) / (stop - start)
    return _Segments(start, stop, before - slope * start, slope)


def area(curve: RiskCoverage) -> float:
    """Integrates the risk over the coverage, from 0 to 1.

    Within a step the kept rows are any share of those of its score, so that
    the risk is `offset / coverage + slope` there.
    """
    start, stop, offset, slope = _segments(curve)
    logs = np.log(stop[1:] / start[1:])
    return float(np.sum(slope * (stop - start)) + np.sum(offset[1:] * logs))


def generalized_area(curve: RiskCoverage) -> float:
    """Integrates risk times coverage over the coverage, from 0 to 1."""
    total = curve.coverage * curve.risk
    before = np.concatenate([[0.0], total[:-1]])
    widths = np.diff(curve.coverage, prepend=0.0)
    return float(np.sum(0.5 * widths * (before + total)))


def root_area(curve: RiskCoverage) -> float:
    """Integrates the root of the risk over the coverage, from 0 to 1."""
    start, stop, offset, slope = _segments(curve)

    def antiderivative(x: Array) -> Array:
        # Of sqrt(offset / x + slope); offset + slope x may round below 0.
        total = np.maximum(offset + slope * x, 0.0)
        flat = slope <= 1e-15 * np.maximum(np.abs(offset), 1e-300)
        root = np.sqrt(np.where(flat, 1.0, slope))
        logs = np.log(root * np.sqrt(x) + np.sqrt(total))
        steep = np.sqrt(x * total) + offset / root * logs
        return np.where(flat, 2 * np.sqrt(x * np.maximum(offset, 0)), steep)

    with np.errstate(divide="ignore", invalid="ignore"):
        parts = antiderivative(stop) - antiderivative(start)
    parts[0] = np.sqrt(slope[0]) * stop[0]
    return float(np.sum(parts))


def _by_score(score: Array, *values: Array) -> tuple[Array, Array]:
    """Sums values by distinct score, rising: scores `[m]`, sums `[V, m]`.

    Rows of which all values are 0 are left out.
    """
    stacked = np.stack(values).astype(np.float64)
    counts = np.any(stacked != 0, axis=0)
    order = np.argsort(score[counts], kind="stable")
    ordered, stacked = score[counts][order], stacked[:, counts][:, order]
    is_first: Array = np.ones(len(ordered), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    return ordered[starts], np.add.reduceat(stacked, starts, axis=1)
