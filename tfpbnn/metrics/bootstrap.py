"""Computes intervals of scores, and of differences of two, by the bootstrap.

Rows are drawn with replacement, together with their places and weights, since
the places of a row (the pixels of an image) are not independent. A score is a
function of the places' weights, and a draw multiplies them by how often it has
their row: so nothing is copied.

Intervals are BCa, bias-corrected and accelerated, which are right to second
order where percentiles are to first: those matter for skewed scores, such as an
NLL. The acceleration comes from the score without each of (at most) 100 groups
of rows. Scores such as the ECE are higher by chance the fewer the rows, and yet
higher in resamples, which have fewer rows that differ; BCa alone would then
leave out the score itself. So replicates are first moved to have the score as
their mean, and the interval is for the mean score of data sets of this size.

Reference:
    [Efron, 1987](https://doi.org/10.1080/01621459.1987.10478410)
"""

import functools
import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.progress import Bar
from tfpbnn.base.types import Array
from tfpbnn.metrics.rows import Rows

_GROUPS = 100
_LEAST = 0.1
_NORMAL = statistics.NormalDist()


class Estimate(float):
    """A score with its bootstrap: a `float` that knows how sure it is.

    Attributes:
        lower: the lower end of the interval of the score, by BCa.
        upper: its upper end.
        stderr: the standard error, in the units of the score.
        level: the probability that such an interval has the mean score of data
            sets of as many rows, if there are many rows.
        replicates: the scores of the resampled rows, `[n_boot]`. Resamples for
            which there is no score, such as an AUROC of one class, are NaN and
            left out.
        left_out: the scores without each of some groups of rows, `[g]`.
        rows: the rows that were resampled.

    Example:
    ```python
    y, p = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.4, 0.1])
    found = tfpbnn.metrics.brier(y, p, n_boot=200, seed=0)
    found.lower <= found <= found.upper             # True
    ```
    """

    level: float
    replicates: Array
    left_out: Array
    rows: Array

    def __new__(
        cls,
        value: float,
        replicates: Array,
        left_out: Array,
        rows: Array,
        level: float,
    ) -> "Estimate":
        self = super().__new__(cls, value)
        self.replicates, self.left_out = replicates, left_out
        self.rows, self.level = rows, level
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Gives what a copy, or an unpickled one, is made of."""
        return (
            float(self),
            self.replicates,
            self.left_out,
            self.rows,
            self.level,
        )

    @property
    def stderr(self) -> float:
        return float(np.nanstd(self.replicates, ddof=1))

    @property
    def lower(self) -> float:
        return self._end((1 - self.level) / 2)

    @property
    def upper(self) -> float:
        return self._end((1 + self.level) / 2)

    def _end(self, level: float) -> float:
        bias, acceleration = self._corrections
        z = bias + _NORMAL.inv_cdf(level)
        # Far out the correction has a pole, which no level may pass.
        q = _NORMAL.cdf(bias + z / max(1 - acceleration * z, _LEAST))
        end = float(np.quantile(self._centered, q))
        # What no resample did, to be below 0 or above 1, the move did.
        low = 0.0 if np.nanmin(self.replicates) >= 0 else -math.inf
        high = 1.0 if np.nanmax(self.replicates) <= 1 else math.inf
        return min(max(end, low), high)

    @functools.cached_property
    def _centered(self) -> Array:
        """The replicates, moved to have the score as their mean."""
        found = self.replicates[np.isfinite(self.replicates)]
        return found + (float(self) - np.mean(found))

    @functools.cached_property
    def _corrections(self) -> tuple[float, float]:
        """The median's bias in standard normal units, and the acceleration."""
        away = self.left_out[np.isfinite(self.left_out)]
        away = np.mean(away) - away
        spread = np.sum(away**2) ** 1.5
        acceleration = np.sum(away**3) / (6 * spread) if spread > 0 else 0.0
        return self._normal_of(float(self)), float(acceleration)

    def _normal_of(self, value: float) -> float:
        """Where a value is among the replicates, in standard normal units."""
        found = self._centered
        # A difference of rounding errors is none.
        near = np.isclose(found, value, rtol=1e-9, atol=1e-12)
        below = np.sum((found < value) & ~near) + 0.5 * np.sum(near)
        return _NORMAL.inv_cdf((below + 0.5) / (len(found) + 1))

    def p_value(self, value: float = 0.0) -> float:
        """Computes the two-sided p-value of the score being `value`.

        It is one less the level of the interval that just reaches it, and not
        below what so many resamples can tell.
        """
        bias, acceleration = self._corrections
        z = self._normal_of(value) - bias
        z = z / max(1 + acceleration * z, _LEAST) - bias
        found = 2 * min(_NORMAL.cdf(z), _NORMAL.cdf(-z))
        return max(found, 1 / (len(self._centered) + 1))

    def __repr__(self) -> str:
        return (
            f"{float(self):.4g} ({100 * self.level:g} % interval "
            f"{self.lower:.4g} to {self.upper:.4g})"
        )


class Comparison(NamedTuple):
    """Two models' scores on the same rows.

    Attributes:
        first: the score of the first model.
        second: the score of the second model.
        difference: first less second, with the interval of the difference.
        p_value: the two-sided p-value of no difference.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float


def compare(
    metric: Callable[..., Any],
    y_true: Any,
    first: Any,
    second: Any,
    *,
    n_boot: int = 1000,
    seed: int | None = None,
    level: float = 0.95,
    **options: Any,
) -> Any:
    """Compares two models by one metric, on the same rows.

    Both are scored on the same resampled rows, so what makes rows easy or hard
    for both cancels: the interval of the difference is narrower than those of
    the scores.

    Args:
        metric: a function of `tfpbnn.metrics` that takes targets and a
            prediction, and `n_boot`.
        y_true: the targets, one row for each predicted row.
        first: the first model's prediction, as the metric takes it.
        second: the second model's prediction, of the same rows.
        n_boot: the number of resamples, 2 or more.
        seed: an integer for the same resamples each time.
        level: the probability of the intervals, between 0 and 1.
        options: what else the metric takes, such as `sample_weight`.

    Returns:
        A `Comparison`; of a metric of several numbers, such as `brier_parts`,
        one for each, by the metric's own names. A number that a metric does not
        have of one of the predictions is not compared: its `Comparison` has a
        difference and a p-value of NaN.

    Raises:
        TypeError: if the metric is no function with a bootstrap.
        ValueError: if the predictions don't count the same rows.

    Example:
    ```python
    y = np.array([0, 1, 1, 0, 1, 0])
    a, b = np.array([0.2, 0.7, 0.6, 0.1, 0.9, 0.4]), np.full(6, 0.5)
    found = tfpbnn.metrics.compare(tfpbnn.metrics.brier, y, a, b, seed=0)
    found.difference, found.p_value
    parts = tfpbnn.metrics.compare(tfpbnn.metrics.brier_parts, y, a, b, seed=0)
    parts.reliability.difference
    ```
    """
    checks.integer("n_boot", n_boot, least=2)
    options |= {"n_boot": n_boot, "seed": fixed(seed), "level": level}
    if not callable(metric):
        raise TypeError(
            "`metric` must be a function, such as `tfpbnn.metrics.brier`. "
            f"Received: metric={metric!r}"
        )
    a, b = metric(y_true, first, **options), metric(y_true, second, **options)
    if isinstance(a, tuple) and hasattr(a, "_fields") and type(a) is type(b):
        pairs = zip(a, b, strict=True)
        return type(a)(*(_compared(metric, *pair) for pair in pairs))
    return _compared(metric, a, b)


def _compared(metric: Any, a: Any, b: Any) -> Comparison:
    """Compares two scores of the same resamples.

    Args:
        metric: what gave them, for errors.
        a, b: the scores; NaN of what a metric does not have.
    """
    if any(isinstance(one, float) and math.isnan(one) for one in (a, b)):
        none: Any = math.nan
        return Comparison(a, b, none, none)
    if not (isinstance(a, Estimate) and isinstance(b, Estimate)):
        raise TypeError(
            "`metric` must give numbers with their bootstrap. Received: "
            f"{metric!r}, which gave {type(a).__name__}"
        )
    if not np.array_equal(a.rows, b.rows):
        raise ValueError(
            "`first` and `second` must be predictions of which the same rows "
            f"count. Received: {len(a.rows)} and {len(b.rows)} rows that do"
        )
    difference = Estimate(
        float(a) - float(b),
        a.replicates - b.replicates,
        a.left_out - b.left_out,
        a.rows,
        a.level,
    )
    return Comparison(a, b, difference, difference.p_value())


def fixed(seed: int | None) -> int:
    """Gives a seed that is the same for several scores."""
    checks.seed(seed)
    return random.any_seed() if seed is None else seed


def mean(
    values: Array,
    rows: Rows,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
    finish: Callable[[Any], Any] = float,
) -> float:
    """Computes a weighted mean, or a function of it, with its bootstrap.

    Args:
        values: the values, `[n]`, or `[n, m]` for m means at a time.
        rows: what they weigh, and which rows they are of.
        n_boot, seed, level: as in `estimate`.
        finish: the score, as a function of the mean or of the m means.
    """
    columns = np.reshape(np.asarray(values, np.float64), [len(values), -1])

    def of_sums(sums: Array) -> float:
        found = sums[0, 1:] / sums[0, 0]
        return finish(found if np.ndim(values) > 1 else found[0])

    index: Array = np.zeros(len(columns), np.int64)
    return binned(index, columns, rows, of_sums, n_boot, seed, level)


def binned(
    index: Array,
    columns: Array,
    rows: Rows,
    finish: Callable[[Array], float],
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
    num_bins: int | None = None,
) -> float:
    """Computes a function of weighted sums in bins, with its bootstrap.

    The sums of each row are taken once, so it is fast where rows have many
    places.

    Args:
        index: the bin of each value, from 0, `[n]`.
        columns: the values to sum, `[n, m]`.
        rows: what they weigh, and which rows they are of.
        finish: the score, as a function of sums `[bins, 1 + m]`: of the
            weights, and of weights times columns.
        n_boot, seed, level: as in `estimate`.
        num_bins: the number of bins; None for as many as there are.
    """
    size = num_bins or int(index.max()) + 1
    parts = [rows.weights, *(rows.weights * column for column in columns.T)]
    row = rows.row
    if n_boot is not None:
        cells, cell = np.unique(row * size + index, return_inverse=True)
        parts = [np.bincount(cell, part) for part in parts]
        row, index = np.divmod(cells, size)

    def statistic(counts: Array) -> float:
        sums = [np.bincount(index, counts * part, size) for part in parts]
        return finish(np.stack(sums, axis=-1))

    each = Rows(np.ones(len(row)), row)
    return estimate(statistic, each, n_boot, seed, level)


def estimate(
    statistic: Callable[[Array], float],
    rows: Rows,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes a score, with its bootstrap if asked.

    Args:
        statistic: the score, as a function of the weights `[n]` of the places,
            which may be 0. It may be NaN where there is none.
        rows: the weights of the places, and which rows they are of.
        n_boot: the number of resamples; None for a plain number.
        seed: an integer for the same resamples each time. Scores with the
            same seed, of the same rows, have the same resamples.
        level: the probability of the interval, between 0 and 1.

    Returns:
        A float; with `n_boot`, an `Estimate`.

    Raises:
        ValueError: if `n_boot`, `seed` or `level` are out of range, or fewer
            than two rows count.
    """
    value = float(statistic(rows.weights))
    checks.seed(seed)
    checks.open_fraction("level", level)
    if n_boot is None:
        return value
    checks.integer("n_boot", n_boot, least=2)
    if not np.isfinite(value):
        raise ValueError(
            "`n_boot` must be None where the score is not finite. Received: "
            f"n_boot={n_boot}, and a score of {value}"
        )
    names, index = np.unique(rows.row, return_inverse=True)
    size = len(names)
    if size < 2:
        raise ValueError(
            "`n_boot` must be None where one row counts, which says nothing of "
            f"how scores vary. Received: n_boot={n_boot}"
        )
    generator, bar = random.generator(seed), Bar("auto")
    bar.expect(n_boot)

    def resampled(counts: Array) -> float:
        return float(statistic(rows.weights * counts[index]))

    def draw() -> float:
        picked = generator.integers(0, size, size)
        bar.step()
        return resampled(np.bincount(picked, minlength=size))

    replicates = np.array([draw() for _ in range(n_boot)])
    bar.close()
    if np.mean(np.isfinite(replicates)) < 0.5:
        raise ValueError(
            "`n_boot` must be None where most resampled rows have no such "
            f"score. Received: n_boot={n_boot}, of which "
            f"{np.sum(~np.isfinite(replicates))} have none"
        )
    group: Array = np.arange(size) % min(size, _GROUPS)
    left_out = np.array([resampled(group != g) for g in np.unique(group)])
    return Estimate(value, replicates, left_out, names, level)
