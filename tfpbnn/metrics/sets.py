"""Scores sets of classes, such as conformal ones."""

from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, rows
from tfpbnn.metrics.labels import check_kind, check_probabilities, labelled

# Sums of probabilities that differ by less are equal.
_ROUNDING = 1e-9


def set_size(
    y_pred: Any,
    mass: float = 0.9,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the mean number of classes that a prediction does not rule out.

    Args:
        y_pred: sets of classes, booleans `[N, ..., K]`; or a prediction of one
            of K classes, or probabilities `[N, ..., K]`, of which the smallest
            sets are taken whose probabilities sum to `mass`.
        mass: the probability of the sets, between 0 and 1; not used if sets
            are given.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `tfpbnn.metrics.accuracy`.

    Returns:
        The mean size, in [0, K]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError: if y_pred is not a prediction of labels, or numbers.
        ValueError: if `mass` is out of range, if probabilities are none, or
            nothing counts.

    Example:
    ```python
    p = np.array([[0.95, 0.03, 0.02], [0.5, 0.45, 0.05]])
    tfpbnn.metrics.set_size(p, 0.9)                 # (1 + 2) / 2
    ```

    Reference:
        [Angelopoulos and Bates, 2023](https://arxiv.org/abs/2107.07511)
    """
    checks.open_fraction("mass", mass)
    mask = None
    if rows.is_predictive(y_pred):
        check_kind(y_pred)
        mask, y_pred = y_pred.mask, y_pred.summaries[0]
    given = rows.array("y_pred", y_pred)
    if given.ndim < 2 or given.shape[-1] < 2:
        raise ValueError(
            "`y_pred` must have the 2 or more classes in its last axis. "
            f"Received: y_pred of shape {given.shape}"
        )
    shape = given.shape[:-1]
    if mask is not None and mask.ndim < len(shape):
        mask = np.broadcast_to(mask[..., np.newaxis], shape)
    weights, row, kept = rows.counted(sample_weight, shape, mask)
    given = given[kept]
    if given.dtype != bool:
        check_probabilities("y_pred", given)
        sizes = _size(given, mass)
    else:
        sizes = given.sum(axis=-1)
    each = rows.Rows(weights, row)
    return bootstrap.mean(sizes, each, n_boot, seed, level)


def set_coverage(
    y_true: Any,
    y_pred: Any,
    mass: float = 0.9,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes how often the label is in the set of classes.

    Args:
        y_true: the labels, `[N, ...]`, or one-hot `[N, ..., K]`.
        y_pred, mass, sample_weight, n_boot, seed, level: as in `set_size`.

    Returns:
        The share, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError, ValueError: as `set_size`, and for labels as
            `tfpbnn.metrics.accuracy`.

    Example:
    ```python
    sets = np.array([[True, False, True], [False, True, True]])
    tfpbnn.metrics.set_coverage([2, 0], sets)       # 0.5
    ```
    """
    checks.open_fraction("mass", mass)
    given = None if rows.is_predictive(y_pred) else rows.array("y_pred", y_pred)
    if given is not None and given.dtype == bool and given.ndim > 1:
        # Empty sets are none of probabilities: any that fit say where labels
        # are, and which count.
        uniform = np.full(given.shape, 1 / max(1, given.shape[-1]))
        read = labelled(y_true, uniform, sample_weight)
        sets = given.reshape(-1, given.shape[-1])[read.grid.at]
    else:
        read = labelled(y_true, y_pred, sample_weight)
        order = np.argsort(-read.probabilities, axis=-1, kind="stable")
        place = np.argsort(order, axis=-1, kind="stable")
        sets = place < _size(read.probabilities, mass)[:, np.newaxis]
    is_inside = np.take_along_axis(sets, read.labels[:, np.newaxis], axis=-1)
    return bootstrap.mean(is_inside[:, 0], read.rows, n_boot, seed, level)


def _size(p: Array, mass: float) -> Array:
    """The number of the most probable classes that sum to `mass`, `[n]`."""
    sums = np.cumsum(-np.sort(-p, axis=-1), axis=-1)
    missing = sums < mass - _ROUNDING
    return np.minimum(missing.sum(axis=-1) + 1, p.shape[-1])
