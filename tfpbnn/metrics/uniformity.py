"""Scores how uniform targets are among their predicted quantiles."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, numbers, rows
from tfpbnn.metrics.rows import Rows

_LEVELS = tuple(np.linspace(0.05, 0.95, 19))
_NORMS: dict[str, Callable[[Array], float]] = {
    "l1": lambda gaps: float(np.mean(np.abs(gaps))),
    "l2": lambda gaps: float(np.sqrt(np.mean(np.square(gaps)))),
    "max": lambda gaps: float(np.max(np.abs(gaps))),
}


class Uniformity(NamedTuple):
    """How far a sample is from uniform.

    Attributes:
        statistic: the distance; see `pit_uniformity`.
        p_value: the probability of such a distance, or a greater one, of
            independent targets if the predictions are right.
    """

    statistic: float
    p_value: float


class _Ends(NamedTuple):
    """The predicted P(target < y) and P(target <= y) of targets, `[n]` each."""

    below: Array
    up_to: Array
    rows: Rows


def pit(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    seed: int | None = 0,
) -> Array:
    """Computes the probability integral transform of targets that count.

    It is the predicted probability of a value up to the target, and uniform
    from 0 to 1 if the prediction is right. Of counts it is a random number
    between the probabilities below and up to the target; of samples it is
    between the shares of them, as if the target were one more sample.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers; or samples, `[S, N, ..., k]`.
        sample_weight: the weights; only which of them are 0 matters.
        seed: an integer for the same random numbers each time.

    Returns:
        `[n]` for the n targets that count, from all rows and places.

    Reference:
        [Czado et al., 2009](https://doi.org/10.1111/j.1541-0420.2009.01191.x)

    Example:
    ```python
    samples = np.random.default_rng(0).normal(size=(99, 3))
    tfpbnn.metrics.pit([-9.0, 0.0, 9.0], samples)   # near 0, 0.5 and 1
    ```
    """
    return _pit(_ends(y_true, y_pred, sample_weight), seed)


def _pit(ends: _Ends, seed: int | None) -> Array:
    places = random.generator(seed).uniform(size=ends.below.shape)
    found = ends.below + places * (ends.up_to - ends.below)
    return found[ends.rows.weights > 0]


def pit_uniformity(
    y_true: Any,
    y_pred: Any,
    *,
    test: str = "ks",
    num_bins: int = 10,
    sample_weight: Any = None,
    seed: int | None = 0,
) -> Uniformity:
    """Tests whether the probability integral transforms are uniform.

    A small p-value says that predicted distributions are wrong. Targets of the
    same row or of neighbours in time are dependent, and then p-values are too
    small. With weights they are those of `sum(w)^2 / sum(w^2)` targets, an
    approximation.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers; or samples, `[S, N, ..., k]`.
        test: "ks" for Kolmogorov's and Smirnov's, of which the statistic is the
            greatest distance between the share of transforms up to a number
            and that number; or "chi2" for Pearson's, of the counts in bins.
        num_bins: the number of bins of "chi2", 2 or more.
        sample_weight: the weights of rows, places or targets.
        seed: an integer for the same random numbers of `pit` each time.

    Returns:
        `(statistic, p_value)`.

    Raises:
        ValueError: if "chi2" has fewer than 5 targets for each bin.

    Example:
    ```python
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=200), rng.normal(size=(99, 200))
    tfpbnn.metrics.pit_uniformity(y, samples).p_value > 0.001   # True
    ```
    """
    from scipy import stats

    checks.one_of("test", test, ("ks", "chi2"))
    ends = _ends(y_true, y_pred, sample_weight)
    found, weights = _pit(ends, seed), ends.rows.weights
    weights = weights[weights > 0]
    share = weights / weights.sum()
    count = 1 / np.sum(share**2)
    if test == "ks":
        order = np.argsort(found)
        reached = np.cumsum(share[order])
        above = reached - found[order]
        below = share[order] - above
        distance = float(max(above.max(), below.max(), 0.0))
        p = stats.kstwo.sf(distance, max(round(count), 1))
        return Uniformity(distance, float(p))
    checks.integer("num_bins", num_bins, least=2)
    if count * (1 + 1e-9) < 5 * num_bins:
        raise ValueError(
            "`num_bins` must be at most a fifth of the number of targets, "
            f"{count:.0f}. Received: num_bins={num_bins}. For few targets use "
            "test='ks'"
        )
    bins = np.minimum((found * num_bins).astype(np.int64), num_bins - 1)
    shares = np.bincount(bins, share, num_bins)
    statistic = float(count * num_bins * np.sum((shares - 1 / num_bins) ** 2))
    return Uniformity(statistic, float(stats.chi2.sf(statistic, num_bins - 1)))


def regression_calibration_error(
    y_true: Any,
    y_pred: Any,
    *,
    levels: Sequence[float] = _LEVELS,
    norm: str = "l1",
    is_central: bool = False,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes how far shares of targets are from the levels of quantiles.

    For each of the levels it takes the share of targets up to that quantile of
    their prediction, less the level. Of counts these are shares of `pit`, on
    average over its random numbers.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers; or samples, `[S, N, ..., k]`.
        levels: the levels, between 0 and 1.
        norm: how the distances are put together: "l1", the mean of their sizes;
            "l2", the root of the mean of their squares (the square is that of
            Kuleshov et al. with equal weights); or "max".
        is_central: whether levels are those of central intervals, in place of
            those of quantiles.
        sample_weight: the weights of rows, places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The error, from 0 to 1; lower is better. By chance it is about 0.32 /
        sqrt(n) for right predictions of n targets, with the default levels.

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)

    Example:
    ```python
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=200), rng.normal(size=(99, 200))
    tfpbnn.metrics.regression_calibration_error(y, samples)     # small
    ```
    """
    checks.one_of("norm", norm, sorted(_NORMS))
    nominal = np.array([checks.open_fraction("levels", q) for q in levels])
    ends = _ends(y_true, y_pred, sample_weight)
    if is_central:
        tails = (1 - nominal) / 2
        inside = _shares(ends, 1 - tails) - _shares(ends, tails)
    else:
        inside = _shares(ends, nominal)

    def distance(shares: Array) -> float:
        return _NORMS[norm](shares - nominal)

    return bootstrap.mean(inside, ends.rows, n_boot, seed, level, distance)


def _shares(ends: _Ends, levels: Array) -> Array:
    """The probability that each transform is up to each level, `[n, L]`."""
    start, stop = ends.below[:, np.newaxis], ends.up_to[:, np.newaxis]
    is_point = stop <= start
    width = np.where(is_point, 1.0, stop - start)
    shares = np.clip((levels - start) / width, 0, 1)
    return np.where(is_point, stop <= levels, shares)


def _ends(y_true: Any, y_pred: Any, sample_weight: Any) -> _Ends:
    if rows.is_predictive(y_pred):
        read = numbers.places(y_true, y_pred, sample_weight)
        below, up_to = read.predictive.cdf_ends(read.y)
        below = up_to if below is None else below
        return _Ends(np.ravel(below), np.ravel(up_to), read.rows(up_to))
    found = numbers.predicted(y_true, y_pred, sample_weight, lambda p: p, "S")
    count = len(found.values) + 1
    below = np.sum(found.values < found.y, axis=0) / count
    up_to = (np.sum(found.values <= found.y, axis=0) + 1) / count
    return _Ends(np.ravel(below), np.ravel(up_to), found.rows)
