"""Reads targets and predictions as flat rows that are checked.

Every metric begins with one of these readers, and so all take the same forms:
a `Predictive`, which brings its own mask and labels to ignore, or arrays.
Places of weight 0, and those that a NumPy mask hides, are left out and not
looked at. What is left has `Rows`, which say what each place weighs and which
row it is from, for `bootstrap.estimate`.

A metric is then:

```python
def brier(y_true, y_pred, *, sample_weight=None, n_boot=None, seed=None,
          level=0.95):
    read = labels.labelled(y_true, y_pred, sample_weight)
    values = ...                                    # [n], of read's arrays
    return bootstrap.mean(values, read.rows, n_boot, seed, level)
```
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import data
from tfpbnn.base.places import over_places, weights_of
from tfpbnn.base.types import Array


class Rows(NamedTuple):
    """What n values of places weigh, and which rows they are from.

    Attributes:
        weights: the weights, positive, `[n]` in float64.
        row: the index of the row that each is a place of, `[n]`.
    """

    weights: Array
    row: Array


class Places(NamedTuple):
    """The places of a prediction that count.

    If all places `[N, ...]` do, they stay as they are; else the n that count
    take the place of rows.

    Attributes:
        predictive: the `Predictive` of these places.
        y: their targets, aligned with it and checked.
        weights: their weights, of the shape of the places, in float64.
        row: the index of the row that each is of, of the same shape.
        at: the index of each among all places, flattened, of that shape.
    """

    predictive: Any
    y: Array
    weights: Array
    row: Array
    at: Array

    def rows(self, values: Array) -> Rows:
        """Gives the `Rows` of values that are flattened, `[places, ...]`."""
        return flat(self.weights, self.row, values)


class Numbers(NamedTuple):
    """Targets that are numbers, with arrays that predict them.

    Attributes:
        y: the targets, `[n, k]` in float64.
        arrays: predictions with the same last axes, `[..., n, k]` each.
        weights: the weights of targets, `[n, k]`; of those that don't count 0,
            and then targets and predictions are 0 too.
        row: the index of the row that each place is of, `[n]`.
    """

    y: Array
    arrays: tuple[Array, ...]
    weights: Array
    row: Array

    def each(self) -> Rows:
        """Gives the `Rows` of all n times k targets, flattened."""
        return flat(self.weights, self.row, self.y)

    def places(self) -> Rows:
        """Gives the `Rows` of the n places, for metrics of joint targets.

        Raises:
            ValueError: if targets of a place differ in their weights.
        """
        if np.any(self.weights != self.weights[:, :1]):
            raise ValueError(
                "`sample_weight` must be the same for all targets of a row, "
                "which are scored together. Received: weights (or a mask) "
                "that differ between targets"
            )
        return Rows(self.weights[:, 0], self.row)


class Ranked(NamedTuple):
    """Yes-or-no labels with a score that ranks them.

    Attributes:
        is_positive: booleans, `[n]`.
        score: numbers, `[n]` in float64.
        rows: what the n places weigh, and which rows they are of.
    """

    is_positive: Array
    score: Array
    rows: Rows


def is_predictive(y_pred: Any) -> bool:
    """Says whether an argument is a `Predictive`, by a method that it has."""
    return hasattr(y_pred, "counted") and hasattr(y_pred, "likelihood")


def places(y_true: Any, predictive: Any, sample_weight: Any = None) -> Places:
    """Reads the targets of a `Predictive`.

    Args:
        y_true: the targets, one row for each predicted row.
        predictive: the `Predictive`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`, or
            None.

    Raises:
        ValueError: as `Predictive.counted`.
    """
    shape = predictive.outputs_shape[:-1]
    y, sample_weight = unmasked(y_true, sample_weight, shape)
    found = predictive.counted(y, sample_weight)
    row, at = _row_indices(shape), np.arange(np.prod(shape)).reshape(shape)
    if found.counted is not None:
        row, at = row[found.counted], at[found.counted]
    weights = np.ones(row.shape) if found.weights is None else found.weights
    _check_some(weights > 0)
    return Places(found.predictive, found.y, weights, row, at)


def numbers(y_true: Any, sample_weight: Any = None, **arrays: Any) -> Numbers:
    """Reads targets that are numbers, and arrays that predict them.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]` for one target.
        sample_weight: the weights, with the first axes of the targets, or None.
        arrays: the predictions by the names of the arguments, of the shape of
            y_true, or with more axes before it, such as that of draws.

    Raises:
        TypeError: if something holds other things than numbers.
        ValueError: if shapes don't fit, something that counts is NaN or
            infinite, or nothing counts.
    """
    y = array("y_true", y_true)
    read = {name: array(name, value) for name, value in arrays.items()}
    for name, value in read.items():
        if y.ndim == 0 or value.shape[value.ndim - y.ndim :] != y.shape:
            raise ValueError(
                f"`{name}` must have the last axes of `y_true`, {y.shape}. "
                f"Received: {name} of shape {value.shape}"
            )
    y, sample_weight = unmasked(y, sample_weight, y.shape)
    weights = weights_of(sample_weight, y.shape)
    weights = np.ones(y.shape) if weights is None else weights
    k = y.shape[-1] if y.ndim > 1 else 1
    weights = weights.reshape(-1, k)
    kept = np.any(weights > 0, axis=-1)
    _check_some(kept)
    weights = weights[kept]
    row = np.ravel(_row_indices(y.shape[:-1] or y.shape))[kept]

    def of_places(name: str, value: Array) -> Array:
        before = value.shape[: value.ndim - y.ndim]
        value = value.reshape(*before, -1, k)[..., kept, :]
        value = np.where(weights > 0, value, 0).astype(np.float64)
        data.check_finite(name, value)
        return value

    return Numbers(
        of_places("y_true", y),
        tuple(of_places(name, value) for name, value in read.items()),
        weights,
        row,
    )


def ranked(
    is_positive: Any,
    score: Any,
    sample_weight: Any = None,
    names: tuple[str, str] = ("y_true", "score"),
) -> Ranked:
    """Reads yes-or-no labels and a score that ranks them.

    Args:
        is_positive: booleans, or 0 and 1, of any shape.
        score: numbers of the same shape, which may be infinite.
        sample_weight: the weights, with the first axes of the labels, or None.
        names: the names of the two arguments, for errors.

    Raises:
        TypeError: if something holds other things than numbers.
        ValueError: if shapes don't fit, a label that counts is not 0 or 1, a
            score is NaN, or nothing counts.
    """
    y, s = array(names[0], is_positive), array(names[1], score)
    if y.shape != s.shape or y.ndim == 0:
        raise ValueError(
            f"`{names[1]}` must have the shape of `{names[0]}`, {y.shape}. "
            f"Received: {names[1]} of shape {s.shape}"
        )
    y, sample_weight = unmasked(y, sample_weight, y.shape)
    weights, row, kept = counted(sample_weight, y.shape)
    y, s = y[kept], s[kept].astype(np.float64)
    if not np.all((y == 0) | (y == 1)):
        found = y[(y != 0) & (y != 1)][:5]
        raise ValueError(
            f"`{names[0]}` must hold booleans, or 0 and 1. Received: {found} "
            "among them"
        )
    if np.any(np.isnan(s)):
        raise ValueError(
            f"`{names[1]}` must be numbers. Received: {np.isnan(s).sum()} NaN "
            "among them"
        )
    return Ranked(y.astype(bool), s, Rows(weights, row))


def array(name: str, value: Any) -> Array:
    """Makes an array of numbers; one with a NumPy mask keeps it."""
    if is_predictive(value) or isinstance(value, Mapping):
        raise TypeError(
            f"`{name}` must be an array. Received: {type(value).__name__}. "
            "Of several outputs, give one at a time: `y['a']`, `p['a']`"
        )
    if isinstance(value, list | tuple) and any(map(is_predictive, value)):
        raise TypeError(
            f"`{name}` must be one prediction. Received: {len(value)} of "
            "them. Of several outputs, give one at a time: `y[0]`, `p[0]`"
        )
    array = np.asanyarray(value)
    if not isinstance(array, np.ma.MaskedArray):
        array = np.asarray(array)
    data.check_numbers(f"`{name}`", array)
    return array


def unmasked(
    y: Any, sample_weight: Any, shape: tuple[int, ...]
) -> tuple[Any, Any]:
    """Turns a NumPy mask of targets into weights of 0 of their places."""
    if not np.ma.is_masked(y):
        return (np.asarray(y) if np.ma.isMaskedArray(y) else y), sample_weight
    mask = np.ma.getmaskarray(y)
    if mask.ndim == len(shape) + 1:
        if np.any(mask != mask[..., :1]):
            raise ValueError(
                "`y_true` must have all targets of a row masked, or none. "
                "Received: rows of which some targets are masked"
            )
        mask = mask[..., 0]
    weights = weights_of(sample_weight, shape)
    weights = np.ones(shape) if weights is None else weights
    return y.filled(0), weights * ~np.broadcast_to(mask, shape)


def counted(
    sample_weight: Any, shape: tuple[int, ...], mask: Array | None = None
) -> tuple[Array, Array, Array]:
    """Gives weights and rows of the places that count, and which do."""
    weights = weights_of(sample_weight, shape)
    weights = np.ones(shape) if weights is None else weights
    kept = weights > 0 if mask is None else (weights > 0) & mask
    _check_some(kept)
    return weights[kept], _row_indices(shape)[kept], kept


def _check_some(kept: Array) -> None:
    if not np.any(kept):
        raise ValueError(
            "`y_true` must have a place that counts. Received: "
            f"{np.size(kept)} targets, and all are masked or of weight 0"
        )


def _row_indices(shape: tuple[int, ...]) -> Array:
    index = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(index, shape)


def flat(weights: Array, row: Array, values: Array) -> Rows:
    """Spreads weights and rows over values with the same first axes."""

    def spread(array: Array) -> Array:
        found = over_places(array, values.shape)
        return np.ravel(np.broadcast_to(found, values.shape))

    return Rows(spread(weights), spread(row))
