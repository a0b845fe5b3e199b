"""Scores intervals that numbers should lie in."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, numbers, rows
from tfpbnn.metrics.numbers import Predicted


def coverage(
    y_true: Any,
    y_pred: Any,
    upper: Any = None,
    sample_weight: Any = None,
    *,
    nominal: float = 0.9,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the share of targets inside of their intervals (PICP).

    Ends are inside. A calibrated prediction has a share of about `nominal`.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers, of which the central interval is
            taken; or the intervals, a pair `(lower, upper)` of arrays of the
            shape of the targets, which may be infinite; or the lower ends.
        upper: the upper ends, if `y_pred` is the lower ones.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        nominal: the probability of the intervals of a prediction, between 0
            and 1.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The share, from 0 to 1.

    Example:
    ```python
    lower, upper = np.zeros(4), np.ones(4)
    tfpbnn.metrics.coverage([0.5, 1.0, 2.0, 0.1], (lower, upper))   # 0.75
    ```
    """
    ends = y_pred if upper is None else (y_pred, upper)
    if not rows.is_predictive(ends):
        # An interval may be open on one side.
        most = np.finfo(np.float64).max
        ends = np.clip(_stacked(ends), -most, most)
    read = _intervals(y_true, ends, sample_weight, [nominal])
    (lower, upper), y = read.values, read.y
    inside = np.ravel((y >= lower) & (y <= upper))
    return bootstrap.mean(inside, read.rows, n_boot, seed, level)


def sharpness(
    y_true: Any,
    y_pred: Any,
    *,
    nominal: float = 0.9,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean width of intervals (MPIW), in units of the targets.

    Of two predictions that cover the targets as often, the one of the narrower
    intervals is better. Of the targets, only which of them count matters.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers, of which the central interval is
            taken; or a pair of arrays, `(lower, upper)`.
        nominal: the probability of the intervals of a prediction.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The mean width, 0 or more.

    Example:
    ```python
    lower, upper = np.zeros(4), np.ones(4)
    tfpbnn.metrics.sharpness(np.zeros(4), (lower, upper))           # 1.0
    ```
    """
    read = _intervals(y_true, y_pred, sample_weight, [nominal])
    widths = np.ravel(read.values[1] - read.values[0])
    return bootstrap.mean(widths, read.rows, n_boot, seed, level)


def interval_score(
    y_true: Any,
    y_pred: Any,
    *,
    nominal: float = 0.9,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes Winkler's score of intervals, in the units of the targets.

    It is the width of the interval, and `2 / (1 - nominal)` times the distance
    from it where a target is outside: the true central interval has the least.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers, of which the central interval is
            taken; or a pair of arrays, `(lower, upper)`.
        nominal: the probability of the intervals, between 0 and 1, exclusive.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The score, 0 or more; lower is better.

    Reference:
        [Winkler, 1972](https://doi.org/10.1080/01621459.1972.10481224)

    Example:
    ```python
    lower, upper = np.zeros(2), np.ones(2)
    tfpbnn.metrics.interval_score([0.5, 1.1], (lower, upper))       # 2.0
    ```
    """
    read = _intervals(y_true, y_pred, sample_weight, [nominal])
    lower, upper = read.values
    scores: Array = np.ravel(_winkler(read.y, lower, upper, nominal))
    return bootstrap.mean(scores, read.rows, n_boot, seed, level)


def weighted_interval_score(
    y_true: Any,
    y_pred: Any,
    *,
    nominals: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the weighted interval score, of the median and M intervals.

    It is the absolute error of the median and the scores of the intervals,
    these times half their level outside, over M + 1/2. With more intervals it
    comes near the CRPS.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers; or its quantiles `[2 M + 1, N, ...,
            k]`: the lower ends in the order of `nominals`, the median, and the
            upper ends in the same order as the lower ones.
        nominals: the probabilities of the M intervals.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The score, in the units of the targets; lower is better.

    Reference:
        [Bracher et al., 2021](https://doi.org/10.1371/journal.pcbi.1008618)

    Example:
    ```python
    ends = np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    tfpbnn.metrics.weighted_interval_score([0.5, 1.1], ends, nominals=[0.8])
    ```
    """
    nominals = list(nominals)
    count = len(nominals)
    read = _intervals(y_true, y_pred, sample_weight, nominals, has_median=True)
    total = 0.5 * np.abs(read.y - read.values[count])
    for i, nominal in enumerate(nominals):
        lower, upper = read.values[i], read.values[count + 1 + i]
        score = _winkler(read.y, lower, upper, nominal)
        total += 0.5 * (1 - nominal) * score
    scores = np.ravel(total / (count + 0.5))
    return bootstrap.mean(scores, read.rows, n_boot, seed, level)


def _winkler(y: Array, lower: Array, upper: Array, nominal: float) -> Array:
    outside = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    return upper - lower + 2 / (1 - nominal) * outside


def _intervals(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    nominals: list[float],
    has_median: bool = False,
) -> Predicted:
    """Reads targets and the ends of intervals: all lower, then all upper.

    If there is a median, it is between them.
    """
    for nominal in nominals:
        checks.open_fraction("nominal", nominal)
    tails = [(1 - nominal) / 2 for nominal in nominals]
    middle = [0.5] if has_median else []
    levels = [*tails, *middle, *(1 - tail for tail in tails)]
    ends = y_pred if rows.is_predictive(y_pred) else _stacked(y_pred)
    read = numbers.predicted(
        y_true, ends, sample_weight, lambda p: p.quantile(levels), "Q"
    )
    count = len(nominals)
    if len(read.values) != len(levels):
        raise ValueError(
            f"`y_pred` must have {len(levels)} arrays: the lower ends, the "
            f"upper ends{', and the median between' if has_median else ''}. "
            f"Received: {len(read.values)} of them"
        )
    lower, upper = read.values[:count], read.values[-count:]
    if np.any(lower > upper):
        raise ValueError(
            "`y_pred` must have lower ends that are below the upper ones. "
            f"Received: {np.sum(lower > upper)} pairs in another order"
        )
    return read


def _stacked(y_pred: Any) -> Array:
    """Makes one array of the ends, which may be a pair of arrays."""
    ends = [rows.array("y_pred", end) for end in y_pred]
    shapes = {end.shape for end in ends}
    if len(shapes) != 1:
        raise ValueError(
            "`y_pred` must be ends of intervals of one shape. Received: ends "
            f"of shapes {[end.shape for end in ends]}"
        )
    return np.stack(ends)
