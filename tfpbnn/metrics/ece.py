"""Scores how well probabilities of classes agree with frequencies.

A score of this kind is biased upwards: bins with few rows are off by chance. So
a calibrated model has an ECE above 0, the more so the fewer the rows and the
more the bins. `ece(norm=2, debias=True)` takes that away, and `smooth_ece` does
not depend on bins.
"""

import math
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap
from tfpbnn.metrics.events import Events, equal_mass, equal_width, events

_NORMS = (1, 2, math.inf)


def ece(
    y_true: Any,
    y_pred: Any,
    num_bins: int = 15,
    sample_weight: Any = None,
    *,
    bins: str = "width",
    of: str = "confidence",
    norm: float = 1,
    debias: bool = False,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the expected calibration error.

    It is the mean distance of probabilities and frequencies, over bins of
    places with like probabilities.

    Args:
        y_true: the labels, `[N, ...]`, or one-hot `[N, ..., K]`.
        y_pred: a prediction of labels; or probabilities `[N, ..., K]`, or
            those of "yes", `[N, ..., 1]` or `[N]`.
        num_bins: the number of bins, of each kind of event.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        bins: "width" for bins of equal width; "mass" for bins with as many
            places (or as much weight) each.
        of: the probabilities of what. "confidence": that the most probable
            class is the label. "top_label": the same, with bins of their own
            for each predicted class. "classes": that the label is k, in bins
            for each k, and the mean over k (class-wise ECE); for yes-or-no
            labels this is P(event) against its frequency.
        norm: 1 for the mean of distances, 2 for the root of the mean square,
            `math.inf` for the largest.
        debias: whether to subtract what chance adds; for `norm=2`. The result
            is 0 where chance explains all.
        n_boot: the number of resamples of rows for an interval, such as 1000;
            None for a plain number.
        seed: an integer for the same resamples each time.
        level: the probability of the interval, between 0 and 1.

    Returns:
        The error, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError: if something holds other things than numbers.
        ValueError: if probabilities are none, labels or options are out of
            range, shapes don't fit, or nothing counts.

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    tfpbnn.metrics.ece([0, 1, 1], p)                # 0.3
    tfpbnn.metrics.ece([0, 1, 1], p, of="classes", bins="mass")
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599); for classes [Kull
        et al., 2019](https://arxiv.org/abs/1910.12656); for top labels [Gupta
        and Ramdas, 2022](https://arxiv.org/abs/2107.08353); without bias
        [Kumar et al., 2019](https://arxiv.org/abs/1909.10155)
    """
    checks.positive_integer("num_bins", num_bins)
    checks.one_of("bins", bins, ["width", "mass"])
    checks.one_of("norm", norm, _NORMS)
    if debias and norm != 2:
        raise ValueError(
            "`debias` must be False unless norm=2, since only mean squares "
            f"have a known bias. Received: debias={debias!r}, norm={norm!r}"
        )
    found = events(y_true, y_pred, sample_weight, of)
    if bins == "width" and not debias:
        # Sums of rows are enough, however many places they have.
        return bootstrap.binned(
            equal_width(found.p, found.group, num_bins),
            np.stack([found.p, found.came], axis=-1),
            found.rows,
            lambda sums: gap(sums, norm),
            n_boot,
            seed,
            level,
        )
    statistic = _Binned(found, bins, num_bins, norm, debias)
    return bootstrap.estimate(statistic, found.rows, n_boot, seed, level)


def mce(
    y_true: Any,
    y_pred: Any,
    num_bins: int = 15,
    sample_weight: Any = None,
    **options: Any,
) -> float:
    """Computes the maximum calibration error: that of the worst bin.

    It is `ece` with `norm=math.inf`. Bins with few places decide it, so use
    few bins, or `bins="mass"`.

    Args:
        y_true, y_pred, num_bins, sample_weight: as in `ece`.
        options: `bins`, `of`, `n_boot`, `seed` and `level`, as in `ece`.

    Returns:
        The error, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError, ValueError: as `ece`.

    Example:
    ```python
    tfpbnn.metrics.mce([0, 1, 1], [0.1, 0.6, 0.8])  # 0.4
    ```

    Reference:
        [Naeini et al., 2015](https://doi.org/10.1609/aaai.v29i1.9602)
    """
    options = {"norm": math.inf} | options
    return ece(y_true, y_pred, num_bins, sample_weight, **options)


def ace(
    y_true: Any,
    y_pred: Any,
    num_bins: int = 15,
    sample_weight: Any = None,
    **options: Any,
) -> float:
    """Computes the adaptive calibration error: of all classes, in equal bins.

    It is `ece` with `bins="mass"` and `of="classes"`. (Some packages use the
    name for `ece(bins="mass")`, of confidences.)

    Args:
        y_true, y_pred, num_bins, sample_weight: as in `ece`.
        options: `of`, `norm`, `debias`, `n_boot`, `seed` and `level`, as in
            `ece`.

    Returns:
        The error, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError, ValueError: as `ece`.

    Example:
    ```python
    tfpbnn.metrics.ace([0, 1, 1], [0.1, 0.6, 0.8], num_bins=3)
    ```

    Reference:
        [Nixon et al., 2019](https://arxiv.org/abs/1904.01685)
    """
    options = {"bins": "mass", "of": "classes"} | options
    return ece(y_true, y_pred, num_bins, sample_weight, **options)


def gap(sums: Array, norm: float = 1) -> float:
    """Computes the calibration error of sums in bins, `[bins, 3]`.

    Args:
        sums: the sums of weights, and of weights times probabilities and
            events.
        norm: as in `ece`.
    """
    weight, p, came = sums[sums[:, 0] > 0].T
    gaps = np.abs(came - p) / weight
    if norm == math.inf:
        return float(np.max(gaps))
    return float((weight @ gaps**norm / weight.sum()) ** (1 / norm))


class _Binned:
    """The calibration error as a function of the weights."""

    def __init__(
        self, given: Events, bins: str, num_bins: int, norm: float, debias: bool
    ):
        self._events, self._norm, self._debias = given, norm, debias
        self._fixed, self._by_weight = None, None
        if bins == "width":
            self._fixed = equal_width(given.p, given.group, num_bins)
        else:
            self._by_weight = equal_mass(given.p, given.group, num_bins)

    def __call__(self, weights: Array) -> float:
        index = self._fixed
        if self._by_weight is not None:
            index = self._by_weight(weights)
        p, came = self._events.p, self._events.came
        columns = [weights, weights * p, weights * came, weights**2]
        sums = np.stack([np.bincount(index, c) for c in columns], axis=-1)
        if self._debias:
            return _without_bias(sums[sums[:, 0] > 0])
        return gap(sums[:, :3], self._norm)


def _without_bias(sums: Array) -> float:
    """The root of the mean square, less the variance of frequencies.

    The number of places in a bin is Kish's effective one, so that weights
    need not be counts. A bin with one place tells nothing.
    """
    weight, p, came, squares = sums.T
    alone = squares / weight**2
    frequency = came / weight
    several = alone < 1 - 1e-12
    shrink = alone[several] / (1 - alone[several])
    square = np.zeros(len(weight))
    square[several] = ((came - p) / weight)[several] ** 2
    square[several] -= (frequency * (1 - frequency))[several] * shrink
    return math.sqrt(max(0.0, float(weight @ square / weight.sum())))
