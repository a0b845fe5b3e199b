"""Acquisitions for finding the row of the largest or smallest target.

All are of the function, without the noise of targets: the uncertainty is that
over draws.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.acquisition import reading
from tfpbnn.acquisition.batches import check_size
from tfpbnn.base import checks, data
from tfpbnn.base.types import Array
from tfpbnn.prediction.results import Predictive


def expected_improvement(
    predictive: Any, best: float, *, maximize: bool = True
) -> Array:
    """Computes by how much a row is expected to beat the best one known.

    The expected target is taken for Normal, with the mean and the variance over
    draws.

    Args:
        predictive: a `Predictive` of one number for each of N rows; or draws of
            a function, `[S, N]`.
        best: the best value that was found so far, in units of the targets.
        maximize: whether large targets are wanted, or small ones.

    Returns:
        The scores, `[N]`, in units of the targets; larger ones are asked for
        first.

    Raises:
        TypeError: if the prediction is of labels.
        ValueError: if rows have several targets, or `best` is not finite.

    Example:
    ```python
    draws = np.array([[0.0, 1.0], [2.0, 1.0]])                      # [2, 2]
    tfpbnn.acquisition.expected_improvement(draws, best=1.0)    # 0.399, 0
    ```

    Reference:
        [Jones et al., 1998](https://doi.org/10.1023/A:1008306431147)
    """
    best = checks.finite("best", best)
    mean, variance = reading.moments(predictive)
    gap = mean - best if maximize else best - mean
    return _relu_mean(-gap, np.sqrt(variance))


def ucb(predictive: Any, *, beta: float = 2.0, maximize: bool = True) -> Array:
    """Computes the upper confidence bound, `mean + beta * sd` over draws.

    Args:
        predictive: as of `expected_improvement`.
        beta: how many standard deviations to hope for, 0 or more.
        maximize: whether large targets are wanted; for small ones it is
            `-mean + beta * sd`.

    Returns:
        The scores, `[N]`, in units of the targets; larger ones are asked for
        first.

    Raises:
        TypeError, ValueError: as `expected_improvement`; if `beta` is negative.

    Example:
    ```python
    draws = np.array([[0.0, 1.0], [2.0, 1.0]])                      # [2, 2]
    tfpbnn.acquisition.ucb(draws, beta=2.0)                         # 3, 1
    ```

    Reference:
        [Srinivas et al., 2010](https://arxiv.org/abs/0912.3995)
    """
    checks.non_negative("beta", beta)
    mean, variance = reading.moments(predictive)
    return (mean if maximize else -mean) + beta * np.sqrt(variance)


def knowledge_gradient(
    predictive: Any, *, noise_variance: Any = None, maximize: bool = True
) -> Array:
    """Computes by how much the best mean is expected to rise by one target.

    Rows learn from each other: the expected targets are taken for jointly
    Normal, with means and covariances over draws, and the best mean is that of
    all N rows. It takes some `N^2` steps: a few thousand rows at most.

    Args:
        predictive: as of `expected_improvement`, with draws that are functions
            (`draws="coherent"`).
        noise_variance: the variance of the noise of targets, a number or one
            for each row; None for the prediction's `aleatoric_variance`, or 0
            for arrays.
        maximize: whether large targets are wanted, or small ones.

    Returns:
        The scores, `[N]`, in units of the targets; larger ones are asked for
        first.

    Raises:
        TypeError, ValueError: as `expected_improvement`; if noise is negative
            or draws are not coherent.

    Example:
    ```python
    draws = np.array([[0.0, 1.0], [2.0, 1.0]])                      # [2, 2]
    tfpbnn.acquisition.knowledge_gradient(draws)                # 0.399, 0
    ```

    Reference:
        [Frazier et al., 2009](https://doi.org/10.1287/ijoc.1080.0314)
    """
    values = reading.number_draws(predictive)
    values = values if maximize else -values
    known = np.isfinite(values).all(axis=0)
    if noise_variance is None:
        noise_variance = 0.0
        if isinstance(predictive, Predictive):
            each = predictive.aleatoric_variance.reshape(-1)
            noise_variance = np.where(known, each, 0.0)
    noise = _checked_noise(noise_variance, values.shape[1])
    found = np.full(values.shape[1], np.nan)
    found[known] = _expected_rises(values[:, known], noise[known])
    return found


def thompson(
    predictive: Any,
    k: int = 1,
    *,
    maximize: bool = True,
    seed: int | None = None,
) -> Array:
    """Chooses rows that are the best ones under draws of the function.

    So a row is chosen as often as it is likely to be the best. Each of the k
    rows is by another draw, as long as there are any.

    Args:
        predictive: as of `knowledge_gradient`.
        k: the number of rows to choose.
        maximize: whether large targets are wanted, or small ones.
        seed: an integer, for the same rows each time.

    Returns:
        The indices of k different rows, `[k]`.

    Raises:
        TypeError, ValueError: as `knowledge_gradient`; if there are fewer than
            k rows.

    Example:
    ```python
    draws = np.array([[0.0, 1.0], [2.0, 1.0]])                      # [2, 2]
    tfpbnn.acquisition.thompson(draws, k=1, seed=0)     # row 0 or 1, as likely
    ```

    Reference:
        [Thompson, 1933](https://doi.org/10.1093/biomet/25.3-4.285)
    """
    values = reading.number_draws(predictive)
    values = values if maximize else -values
    free = np.isfinite(values).all(axis=0)
    check_size(k, int(np.sum(free)))
    generator = random.generator(seed)
    chosen: list[int] = []
    while len(chosen) < k:
        for draw in generator.permutation(len(values))[: k - len(chosen)]:
            best = int(np.argmax(np.where(free, values[draw], -np.inf)))
            free[best] = False
            chosen.append(best)
    return np.asarray(chosen)


def _expected_rises(values: Array, noise: Array) -> Array:
    """Computes by how much a target of each row lifts the best mean, `[N]`."""
    means = np.mean(values, axis=0)
    centered = (values - means) / np.sqrt(len(values))
    variances = np.sum(centered**2, axis=0) + noise
    found = np.zeros(len(means))
    for row in np.flatnonzero(variances > 0):
        slopes = centered.T @ centered[:, row] / np.sqrt(variances[row])
        found[row] = _expected_rise(means, slopes)
    return found


def _expected_rise(means: Array, slopes: Array) -> float:
    """Computes `E max(means + slopes z) - max(means)` of a Normal z.

    The lines of the upper envelope, from the least slope on, meet at z_1 < z_2
    ..., and each meeting adds the change of slopes times `E max(z - |z_i|, 0)`.
    """
    order = np.lexsort((means, slopes))
    a, b = means[order], slopes[order]
    last: Array = np.append(b[1:] > b[:-1], True)  # of equal slopes the highest
    a, b = a[last], b[last]
    hull, meets = [0], [-np.inf]
    for i in range(1, len(a)):
        while (meet := _meeting(a, b, hull[-1], i)) <= meets[-1]:
            hull.pop()
            meets.pop()
        hull.append(i)
        meets.append(meet)
    changes = np.diff(b[hull])
    away = np.abs(np.asarray(meets[1:]))
    return float(np.sum(changes * _relu_mean(away, np.ones_like(away))))


def _meeting(a: Array, b: Array, i: int, j: int) -> float:
    return (a[i] - a[j]) / (b[j] - b[i])


def _relu_mean(threshold: Array, sd: Array) -> Array:
    """Computes `E max(sd * z - threshold, 0)` of a standard Normal z."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(sd > 0, threshold / sd, np.inf * np.sign(threshold))
    density = np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)
    above = 0.5 * tf.math.erfc(tf.constant(t / np.sqrt(2))).numpy()
    with np.errstate(invalid="ignore"):
        found = sd * density - threshold * above
    return np.maximum(np.where(sd > 0, found, np.maximum(-threshold, 0)), 0)


def _checked_noise(noise_variance: Any, rows: int) -> Array:
    noise = np.asarray(noise_variance, np.float64)
    data.check_finite("noise_variance", noise)
    if noise.shape not in ((), (rows,)) or np.any(noise < 0):
        raise ValueError(
            "`noise_variance` must be a number of 0 or more, or one for each "
            f"of the {rows} rows. Received: shape {noise.shape}, the least is "
            f"{np.min(noise)}"
        )
    return np.broadcast_to(noise, (rows,))
