"""Reads the losses of places, with the uncertainty that ranks them.

Metrics of selection ask whether places of high uncertainty are those of high
losses. To add a loss: a line in one of the tables.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import checks, data
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array
from tfpbnn.metrics import labels, numbers, rows
from tfpbnn.metrics.labels import Labelled
from tfpbnn.metrics.rows import Rows
from tfpbnn.metrics.uncertainty import uncertainty

# A probability that float64 can just tell from 0.
_LEAST = np.finfo(np.float64).tiny


class Losses(NamedTuple):
    """The losses of places, and how uncertain their predictions were.

    Attributes:
        loss: the losses, `[n]`.
        score: the uncertainties, `[n]`.
        rows: what the places weigh, and which rows they are of.
    """

    loss: Array
    score: Array
    rows: Rows


def _of_label(read: Labelled) -> Array:
    picked = read.labels[:, np.newaxis]
    return np.take_along_axis(read.probabilities, picked, axis=-1)[:, 0]


def _error(read: Labelled) -> Array:
    return np.argmax(read.probabilities, axis=-1) != read.labels


def _brier(read: Labelled) -> Array:
    squares = np.sum(np.square(read.probabilities), axis=-1)
    return squares - 2 * _of_label(read) + 1


def _nll(read: Labelled) -> Array:
    return -np.log(np.maximum(_of_label(read), _LEAST))


# The first of each table is the default.
OF_LABELS: dict[str, Callable[[Labelled], Array]] = {
    "error": _error,
    "brier": _brier,
    "nll": _nll,
}
OF_NUMBERS: dict[str, Callable[[Array], Array]] = {
    "squared_error": np.square,
    "absolute_error": np.abs,
}


def losses(
    y_true: Any, y_pred: Any, loss: Any, by: Any, sample_weight: Any
) -> Losses:
    """Reads the losses of places, and how uncertain their predictions were.

    Args:
        y_true: labels, or targets that are numbers, `[N, ...]`.
        y_pred: a `Predictive`; or probabilities `[N, ..., K]` of the classes;
            or predicted numbers of the shape of the targets.
        loss: a name of one of the tables above, or None for the first that
            fits. Arrays are probabilities if they have one more axis than the
            labels, or the loss is one of labels.
        by: the uncertainty: an array `[N, ...]` with the first axes of the
            targets; or, of a `Predictive`, a name of
            `tfpbnn.metrics.uncertainty` or None for the default. Of arrays of
            probabilities None is one minus the greatest of a place.
        sample_weight: the weights of rows or places, or None.

    Raises:
        ValueError: if the loss does not fit the prediction, or the uncertainty
            does not fit the places.
    """
    of_labels = is_labels(y_true, y_pred, loss)
    known = tuple(OF_LABELS) if of_labels else tuple(OF_NUMBERS)
    name = known[0] if loss is None else checks.one_of("loss", loss, known)
    if of_labels:
        read = labels.labelled(y_true, y_pred, sample_weight)
        each: Array = OF_LABELS[name](read).astype(float)
        return Losses(each, score_of_labels(by, y_pred, read), read.rows)
    of = _of_prediction if rows.is_predictive(y_pred) else _of_points
    return of(y_true, y_pred, name, by, sample_weight)


def is_labels(y_true: Any, y_pred: Any, loss: Any = None) -> bool:
    """Says whether a prediction, or an array, is one of labels."""
    if rows.is_predictive(y_pred):
        return bool(y_pred.likelihood.is_classification)
    if loss is not None:
        checks.one_of("loss", loss, [*OF_LABELS, *OF_NUMBERS])
        return loss in OF_LABELS
    y, values = rows.array("y_true", y_true), rows.array("y_pred", y_pred)
    if y.ndim > 1 and y.shape[-1] > 1 and y.shape == values.shape:
        is_hot = np.all((y == 0) | (y == 1)) and np.all(y.sum(axis=-1) == 1)
        if is_hot and np.all(np.abs(values.sum(axis=-1) - 1) < 1e-2):
            raise ValueError(
                "`loss` must be given where `y_true` looks like one-hot labels "
                "and `y_pred` like probabilities: 'error' (or 'brier', 'nll') "
                "for labels, 'squared_error' for numbers. Received: loss=None"
            )
    return values.ndim == y.ndim + 1 and values.shape[-1] > 1


def score_of_labels(by: Any, y_pred: Any, read: Labelled) -> Array:
    """Computes the uncertainties of labels that were read, `[n]`.

    Args:
        by: as in `losses`.
        y_pred: the prediction, or the probabilities, that were read.
        read: what was read.
    """
    if by is None and not rows.is_predictive(y_pred):
        return 1 - np.max(read.probabilities, axis=-1)
    return _taken(by, y_pred, read.grid.shape, read.grid.at)


def _of_prediction(
    y_true: Any, p: Any, loss: str, by: Any, sample_weight: Any
) -> Losses:
    read = numbers.places(y_true, p, sample_weight)
    mean = read.predictive.mean
    data.check_finite("y_pred", mean)
    each = OF_NUMBERS[loss](read.y - mean)
    k = each.shape[-1]
    at = np.ravel(read.at)[:, np.newaxis] * k + np.arange(k)
    score = _taken(by, p, (*p.outputs_shape[:-1], k), np.ravel(at))
    return Losses(np.ravel(each), score, read.rows(each))


def _of_points(
    y_true: Any, y_pred: Any, loss: str, by: Any, sample_weight: Any
) -> Losses:
    y = rows.array("y_true", y_true)
    y, values = numbers.aligned(y, rows.array("y_pred", y_pred))
    read = rows.numbers(
        y, sample_weight, y_pred=values, by=_fitted(by, y.shape)
    )
    predicted, score = read.arrays
    each = OF_NUMBERS[loss](read.y - predicted)
    return Losses(np.ravel(each), np.ravel(score), read.each())


def _taken(by: Any, y_pred: Any, shape: tuple[int, ...], at: Array) -> Array:
    """Takes the uncertainties of some places, by their flat indices."""
    is_named = by is None or isinstance(by, str)
    if is_named and rows.is_predictive(y_pred):
        score = np.ravel(uncertainty(y_pred, by))[at]
    else:
        score = np.ravel(_fitted(by, shape))[at]
    if np.any(np.isnan(score)):
        raise ValueError(
            "`by` must be numbers where a place counts. Received: "
            f"{np.isnan(score).sum()} NaN among them"
        )
    return score


def _fitted(by: Any, shape: tuple[int, ...]) -> Array:
    """Broadcasts an array of uncertainties to places."""
    if by is None or isinstance(by, str):
        raise ValueError(
            "`by` must be an array of uncertainties where `y_pred` is an array "
            f"of predictions. Received: by={by!r}"
        )
    given = over_places(rows.array("by", by).astype(np.float64), shape)
    if given is None:
        raise ValueError(
            "`by` must be the name of an uncertainty of a `Predictive`, or one "
            f"number for each place, {shape}. Received: an array of shape "
            f"{np.shape(by)}"
        )
    return np.broadcast_to(given, shape)
