"""Scores predictions of numbers, by their points, quantiles or samples."""

from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, numbers, rows, samples
from tfpbnn.metrics.numbers import Predicted


def rmse(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the root mean squared error, in the units of the targets.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers, of which the mean is scored; or the
            predicted numbers, of the shape of the targets.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The error, 0 or more; lower is better.

    Example:
    ```python
    tfpbnn.metrics.rmse([1.0, 5.0], [4.0, 1.0])     # 3.54
    ```
    """
    read = numbers.predicted(y_true, y_pred, sample_weight, lambda p: p.mean)
    squares = np.ravel(np.square(read.y - read.values))
    return bootstrap.mean(squares, read.rows, n_boot, seed, level, np.sqrt)


def mae(
    y_true: Any,
    y_pred: Any,
    *,
    point: str = "mean",
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean absolute error, in the units of the targets.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers; or the predicted numbers, of the shape
            of the targets.
        point: what is scored of a prediction: its "mean", or its "median", of
            which this error is the least.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The error, 0 or more; lower is better.

    Example:
    ```python
    tfpbnn.metrics.mae([1.0, 5.0], [4.0, 1.0])      # 3.5
    ```
    """
    checks.one_of("point", point, ("mean", "median"))
    read = numbers.predicted(
        y_true,
        y_pred,
        sample_weight,
        lambda p: p.mean if point == "mean" else p.quantile(0.5),
    )
    errors = np.ravel(np.abs(read.y - read.values))
    return bootstrap.mean(errors, read.rows, n_boot, seed, level)


def pinball(
    y_true: Any,
    y_pred: Any,
    *,
    q: Any = 0.5,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the pinball loss of quantiles, in the units of the targets.

    It is `q (y - z)` where the target y is above the quantile z, and `(1 - q)
    (z - y)` where it is below: the true quantile has the least.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers; or the predicted quantiles, of the
            shape of the targets, with the Q levels before it if `q` is a list.
        q: the level of the quantiles, between 0 and 1; or a list of Q, over
            which the loss is averaged.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The loss, 0 or more; lower is better. Twice its average over all levels
        is the CRPS.

    Reference:
        [Koenker and Bassett, 1978](https://doi.org/10.2307/1913643)

    Example:
    ```python
    tfpbnn.metrics.pinball([1.0, 5.0], [4.0, 1.0], q=0.9)       # 1.95
    ```
    """
    levels = [checks.open_fraction("q", one) for one in np.atleast_1d(q)]
    read = numbers.predicted(
        y_true,
        y_pred,
        sample_weight,
        lambda p: p.quantile(levels if np.ndim(q) else q),
        "Q" if np.ndim(q) else "",
    )
    quantiles = read.values if np.ndim(q) else read.values[np.newaxis]
    if len(quantiles) != len(levels):
        raise ValueError(
            "`y_pred` must have one quantile for each level of `q`, in its "
            f"first axis. Received: {len(quantiles)} for {len(levels)}"
        )
    above = read.y - quantiles
    upper: Array = np.reshape(levels, (-1, 1, 1))
    losses = np.mean(np.maximum(upper * above, (upper - 1) * above), axis=0)
    return bootstrap.mean(np.ravel(losses), read.rows, n_boot, seed, level)


def crps(
    y_true: Any,
    y_pred: Any,
    *,
    fair: bool = True,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean CRPS, in the units of the targets.

    The continuous ranked probability score is the absolute error, made for
    distributions: E|Y - y| less half E|Y - Y'|. The true one has the least.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]`.
        y_pred: a prediction of numbers, of which the exact score is taken; or
            samples of the targets, `[S, N, ..., k]`.
        fair: how samples are scored. If True, no sample is paired with itself,
            so that the expected score is that of their distribution, and may be
            negative for one row. If False, the S samples are scored as the
            distribution itself; then the score is larger by half E|Y - Y'| / S
            on average, which favours samples that are too narrow.
        sample_weight: the weights of rows `[N]`, or of places or targets.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The score; lower is better.

    Reference:
        [Gneiting and Raftery, 2007](https://doi.org/10.1198/016214506000001437);
        [Ferro, 2014](https://doi.org/10.1002/qj.2270)

    Example:
    ```python
    samples = np.random.default_rng(0).normal(size=(1000, 3))
    tfpbnn.metrics.crps([0.0, 0.0, 0.0], samples)       # 0.239
    ```
    """
    if rows.is_predictive(y_pred):
        found = numbers.places(y_true, y_pred, sample_weight)
        scores = found.predictive.crps_by_target(found.y)
        each = found.rows(scores)
    else:
        read = _drawn(y_true, y_pred, sample_weight, fair)
        scores = samples.by_rows(samples.crps, read.y, read.values, fair)
        each = read.rows
    return bootstrap.mean(np.ravel(scores), each, n_boot, seed, level)


def energy_score(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float = 1.0,
    fair: bool = True,
    num_samples: int = 200,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean energy score of the k targets of a row together.

    It is the CRPS with lengths of vectors in place of distances: E||Y - y||
    less half E||Y - Y'||. Targets should be in comparable units. It takes the
    order of S^2 operations for each row.

    Args:
        y_true: the targets, `[N, ..., k]`.
        y_pred: a prediction of numbers, of which targets are sampled; or
            samples, `[S, N, ..., k]`.
        beta: the power of the lengths, between 0 and 2, exclusive.
        fair: whether no sample is paired with itself, as in `crps`.
        num_samples: the number S of samples of a prediction.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, level: as in `accuracy`.
        seed: an integer for the same samples and resamples each time.

    Returns:
        The score, in the units of the targets to the power `beta`; lower is
        better.

    Reference:
        [Gneiting and Raftery, 2007](https://doi.org/10.1198/016214506000001437)

    Example:
    ```python
    samples = np.random.default_rng(0).normal(size=(100, 3, 2))
    tfpbnn.metrics.energy_score(np.zeros((3, 2)), samples)
    ```
    """
    check = checks.number(
        "a number between 0 and 2, exclusive", lambda v: 0 < v < 2
    )
    beta = check("beta", beta)
    read = _joint(y_true, y_pred, sample_weight, fair, num_samples, seed)
    scores = samples.by_rows(samples.energy, read.y, read.values, fair, beta)
    return bootstrap.mean(scores, read.rows, n_boot, seed, level)


def variogram_score(
    y_true: Any,
    y_pred: Any,
    *,
    order: float = 0.5,
    pair_weights: Any = None,
    fair: bool = True,
    num_samples: int = 200,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean variogram score, which sees wrong correlations.

    It is the sum over targets i and j of `w_ij (|y_i - y_j|^p - E|Y_i -
    Y_j|^p)^2`. It can't tell predictions apart that differ by the same number
    for all targets: give it beside the energy score.

    Args:
        y_true: the targets, `[N, ..., k]` with 2 or more targets.
        y_pred: a prediction of numbers, of which targets are sampled; or
            samples, `[S, N, ..., k]`.
        order: the power p, positive.
        pair_weights: the weights of the pairs, `[k, k]` and 0 or more, such as
            the inverse of their distances; None for 1.
        fair: whether the variance of the mean over samples is taken away, so
            that the expected score does not depend on their number.
        num_samples: the number S of samples of a prediction.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, level: as in `accuracy`.
        seed: an integer for the same samples and resamples each time.

    Returns:
        The score; lower is better.

    Reference:
        [Scheuerer and Hamill, 2015](https://doi.org/10.1175/MWR-D-14-00269.1)

    Example:
    ```python
    samples = np.random.default_rng(0).normal(size=(100, 3, 2))
    tfpbnn.metrics.variogram_score(np.zeros((3, 2)), samples)
    ```
    """
    order = checks.positive_number("order", order)
    read = _joint(y_true, y_pred, sample_weight, fair, num_samples, seed)
    size = read.y.shape[-1]
    if size < 2:
        raise ValueError(
            "`y_true` must have 2 or more targets in its last axis, of which "
            f"pairs are scored. Received: y_true of shape {np.shape(y_true)}"
        )
    pairs = _pair_weights(pair_weights, size)
    scores = samples.by_rows(
        samples.variogram, read.y, read.values, fair, order, pairs
    )
    return bootstrap.mean(scores, read.rows, n_boot, seed, level)


def _pair_weights(given: Any, size: int) -> Array:
    if given is None:
        return np.ones((size, size))
    found = np.asarray(given, np.float64)
    valid = np.isfinite(found) & (found >= 0)
    if found.shape != (size, size) or not np.all(valid):
        raise ValueError(
            f"`pair_weights` must be numbers of 0 or more, {(size, size)}. "
            f"Received: an array of shape {found.shape}, from "
            f"{found.min(initial=0)}"
        )
    return found


def _joint(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    fair: bool,
    num_samples: int,
    seed: int | None,
) -> Predicted:
    """Reads targets `[n, k]` and samples `[S, n, k]` of places."""
    checks.integer("num_samples", num_samples, least=1 + fair)
    checks.seed(seed)
    return _drawn(
        y_true,
        y_pred,
        sample_weight,
        fair,
        lambda p: p.sample(num_samples, seed),
        is_joint=True,
    )


def _drawn(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    fair: bool,
    of: Any = None,
    is_joint: bool = False,
) -> Predicted:
    read = numbers.predicted(
        y_true, y_pred, sample_weight, of, "S", is_joint=is_joint
    )
    if len(read.values) < 1 + fair:
        raise ValueError(
            f"`y_pred` must have {1 + fair} or more samples in its first axis, "
            f"where fair={fair}. Received: {len(read.values)}"
        )
    return read
