"""Computes the smooth calibration error, which has no bins."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap
from tfpbnn.metrics.events import events

# The number of cells between 0 and 1 on which residuals are smoothed.
_CELLS = 2048
_STEPS = 60
_ENOUGH = 1e-7


def smooth_ece(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    of: str = "confidence",
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the smooth expected calibration error.

    Residuals (event less probability) are smoothed over the probabilities by a
    Gaussian that is reflected at 0 and 1; the error is the integral of their
    absolute value. The bandwidth is the one that equals the error, so there is
    nothing to choose, and the error changes little where predictions do.

    Args:
        y_true, y_pred, sample_weight, of, n_boot, seed, level: as in `ece`.
            With `of="classes"` or "top_label" it is the mean over classes.

    Returns:
        The error, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError, ValueError: as `ece`.

    Example:
    ```python
    tfpbnn.metrics.smooth_ece([0, 1, 1], [0.1, 0.6, 0.8])
    ```

    Reference:
        [Błasiok and Nakkiran, 2024](https://arxiv.org/abs/2309.12236)
    """
    found = events(y_true, y_pred, sample_weight, of)
    num_groups = int(found.group.max()) + 1
    at = found.p.clip(0, 1) * _CELLS
    low = np.minimum(at.astype(np.int64), _CELLS - 1)
    residual = found.came - found.p
    cell = found.group * (_CELLS + 1) + low

    def statistic(weights: Array) -> float:
        size = num_groups * (_CELLS + 1)
        # Each residual is shared by the two ends of its cell.
        high = weights * residual * (at - low)
        spread = np.bincount(cell, weights * residual - high, size)
        spread += np.bincount(cell + 1, high, size)
        each = spread.reshape(num_groups, -1) / weights.sum()
        shares = np.bincount(found.group, weights, num_groups) / weights.sum()
        return math.fsum(
            share * _fixed_point(one / share)
            for share, one in zip(shares, each, strict=True)
            if share > 0
        )

    return bootstrap.estimate(statistic, found.rows, n_boot, seed, level)


def _fixed_point(masses: Array) -> float:
    """Finds the bandwidth that equals the error, of residuals on a grid.

    Smoothing by the reflected Gaussian multiplies each cosine by a factor. The
    error falls with the bandwidth, so there is one such point.
    """
    ends = masses.copy()
    ends[[0, -1]] *= 2  # their reflections are in the same place
    waves = np.fft.rfft(np.concatenate([ends, ends[-2:0:-1]])).real
    decay = -0.5 * (math.pi * np.arange(len(waves))) ** 2

    def error(bandwidth: float) -> float:
        smooth = np.fft.irfft(waves * np.exp(decay * bandwidth**2))
        sizes = np.abs(smooth[: len(masses)])
        return float(sizes.sum() - 0.5 * (sizes[0] + sizes[-1]))

    return _root(lambda bandwidth: error(bandwidth) - bandwidth)


def _root(falling: Callable[[float], float]) -> float:
    """Finds the root of a falling function between 0 and 1.

    By false position, where an end that stays twice counts half (Illinois).
    """
    low, high = 0.0, 1.0
    of_low, of_high = falling(low), falling(high)
    if of_low <= 0:
        return low
    if of_high >= 0:
        return high
    stayed = ""
    for _ in range(_STEPS):
        middle = (low * of_high - high * of_low) / (of_high - of_low)
        found = falling(middle)
        if abs(found) < _ENOUGH:
            break
        if found > 0:
            low, of_low = middle, found
            of_high *= 0.5 if stayed == "high" else 1.0
            stayed = "high"
        else:
            high, of_high = middle, found
            of_low *= 0.5 if stayed == "low" else 1.0
            stayed = "low"
    return middle
