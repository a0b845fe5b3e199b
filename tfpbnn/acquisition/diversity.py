"""Selectors of rows that differ from each other."""

from typing import Any

import numpy as np

from tfpbnn import random
from tfpbnn.acquisition import reading
from tfpbnn.acquisition.batches import check_size
from tfpbnn.base import data
from tfpbnn.base.types import Array
from tfpbnn.prediction.results import Predictive


def k_center(features: Any, k: int, *, known: Any = None) -> Array:
    """Chooses rows that leave no row far from a chosen one.

    It is greedy: each next row is the furthest from all that are chosen or
    known, which is within a factor of two of the best choice. Distances are
    Euclidean, so features should have like scales.

    Args:
        features: `[N, D]`, such as those of the last hidden layer; or a
            `Predictive`, whose means are taken.
        k: the number of rows to choose.
        known: the features of rows that have labels already, `[M, D]`; None if
            there are none, and the first row is the nearest to the mean.

    Returns:
        The indices of k different rows, `[k]`, in the order of their choice.

    Raises:
        ValueError: if features have other axes or are not finite, or there are
            fewer than k rows.

    Example:
    ```python
    features = np.array([[0.0], [0.1], [5.0], [2.4]])
    tfpbnn.acquisition.k_center(features, 2, known=[[0.0]])     # rows 2, 3
    ```

    Reference:
        [Sener and Savarese, 2018](https://arxiv.org/abs/1708.00489)
    """
    x = _features("features", features)
    counts = reading.counted(features, len(x))
    check_size(k, int(np.sum(counts)))
    chosen: list[int] = []
    nearest: Array = np.full(len(x), np.inf)
    if known is None:
        away = _distances(x, np.mean(x[counts], axis=0))
        chosen.append(int(np.argmin(np.where(counts, away, np.inf))))
        nearest = _distances(x, x[chosen[0]])
    else:
        labeled = _features("known", known)
        if labeled.shape[1] != x.shape[1]:
            raise ValueError(
                f"`known` must have {x.shape[1]} features, as `features` has. "
                f"Received: the shape {labeled.shape}"
            )
        for row in labeled:
            nearest = np.minimum(nearest, _distances(x, row))
    nearest[chosen], nearest[~counts] = -1, -1
    while len(chosen) < k:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distances(x, x[chosen[-1]]))
        nearest[chosen] = -1
    return np.asarray(chosen)


def badge(
    predictive: Any, k: int, features: Any, *, seed: int | None = None
) -> Array:
    """Chooses uncertain rows that differ, by gradients of the last layer.

    The gradient of a row, for the label that the model takes for the right one,
    is `(p - one_hot) x features`: it is long where the model is unsure, and
    points to what the row would change. Rows are seeds of k-means++ among
    these: each next one in proportion to its squared distance from the chosen.

    Args:
        predictive: a `Predictive` of one label for each of N rows; or the
            probabilities of classes at each draw, `[S, N, K]`.
        k: the number of rows to choose.
        features: the inputs of the last layer, `[N, D]`.
        seed: an integer, for the same rows each time.

    Returns:
        The indices of k different rows, `[k]`, in the order of their choice.

    Raises:
        TypeError: if the prediction is of numbers.
        ValueError: if shapes don't fit, or there are fewer than k rows.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1], [0.5, 0.5], [0.5, 0.5]]])        # [1, 3, 2]
    features = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    tfpbnn.acquisition.badge(draws, 2, features, seed=0)        # rows 1, 2
    ```

    Reference:
        [Ash et al., 2020](https://arxiv.org/abs/1906.03671)
    """
    p = reading.labels(predictive).summaries[0]
    x = _features("features", features)
    if p.ndim != 2 or len(p) != len(x):
        raise ValueError(
            "`features` must have a row for each predicted row, of one label "
            f"each. Received: shapes {x.shape}, and {p.shape} of probabilities"
        )
    counts = reading.counted(predictive, len(x)) & np.isfinite(p).all(axis=1)
    check_size(k, int(np.sum(counts)))
    errors = p - np.eye(p.shape[1])[np.argmax(p, axis=1)]
    errors[~counts] = 0  # so that no distance is from or to these
    norms = np.sum(errors**2, axis=1) * np.sum(x**2, axis=1)

    def distances(row: int) -> Array:
        # Of outer products, without making these.
        inner = (errors @ errors[row]) * (x @ x[row])
        return np.maximum(norms + norms[row] - 2 * inner, 0)

    generator = random.generator(seed)
    chosen = [int(np.argmax(np.where(counts, norms, -1)))]
    nearest = distances(chosen[0])
    while len(chosen) < k:
        nearest[chosen], nearest[~counts] = 0, 0
        # Within rounding of the norms nothing is left to choose by.
        left = np.where(nearest > 1e-12 * norms.max(), nearest, 0)
        if not np.any(left):
            left = counts * 1.0
            left[chosen] = 0
        row = int(generator.choice(len(x), p=left / left.sum()))
        chosen.append(row)
        nearest = np.minimum(nearest, distances(row))
    return np.asarray(chosen)


def _features(name: str, features: Any) -> Array:
    if isinstance(features, Predictive):
        # What padding is filled with makes no distance.
        mean, mask = features.mean, features.mask
        if mask is not None:
            axes = tuple(range(np.ndim(mask), mean.ndim))
            mean = np.where(np.expand_dims(mask, axes), mean, 0)
        features = mean.reshape(len(mean), -1)
    found = np.asarray(features)
    data.check_numbers(f"`{name}`", found)
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(
            f"`{name}` must be features of rows, `[N, D]`. Received: the shape "
            f"{found.shape}"
        )
    data.check_finite(name, found)
    return found.astype(np.float64)


def _distances(x: Array, row: Array) -> Array:
    return np.sum((x - row) ** 2, axis=1)
