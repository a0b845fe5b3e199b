"""Reads targets that are numbers, with what is predicted of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfpbnn.base import data
from tfpbnn.base.types import Array
from tfpbnn.metrics import rows
from tfpbnn.metrics.rows import Places, Rows


class Predicted(NamedTuple):
    """Targets, and what is predicted of each.

    Attributes:
        y: the targets, `[n, k]`.
        values: what is predicted, `[..., n, k]`.
        rows: what the n times k targets weigh, and which rows they are of; of
            the n places, if targets are scored together.
    """

    y: Array
    values: Array
    rows: Rows


def predicted(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    of: Callable[[Any], Array],
    axes: str = "",
    is_joint: bool = False,
) -> Predicted:
    """Reads targets, and numbers that are predicted of each.

    Args:
        y_true: the targets, `[N, ..., k]`, or `[N]` for one target.
        y_pred: a `Predictive` of numbers; or the numbers themselves, with the
            shape of the targets after the axes. A last axis of size 1 may be
            there or not.
        sample_weight: the weights of rows, places or targets, or None.
        of: the numbers, as a function of a `Predictive`.
        axes: the letter of the axis of the numbers before those of the
            targets, such as "S"; "" if there is none.
        is_joint: whether all targets of a place are scored as one.

    Raises:
        TypeError: if y_pred is a prediction of labels.
        ValueError: as in `rows.numbers`; or if a prediction's numbers are not
            finite, as the mean of a StudentT with few degrees of freedom.
    """
    if rows.is_predictive(y_pred):
        read = places(y_true, y_pred, sample_weight)
        values, k = of(read.predictive), read.y.shape[-1]
        data.check_finite("y_pred", values)
        before = values.shape[: values.ndim - read.y.ndim]
        return Predicted(
            read.y.reshape(-1, k),
            values.reshape(*before, -1, k),
            read.rows(read.y[..., 0] if is_joint else read.y),
        )
    y, values = aligned(
        rows.array("y_true", y_true), rows.array("y_pred", y_pred), axes
    )
    found = rows.numbers(y, sample_weight, y_pred=values)
    each = found.places() if is_joint else found.each()
    return Predicted(found.y, found.arrays[0], each)


def aligned(y: Array, values: Array, axes: str = "") -> tuple[Array, Array]:
    """Lets a last axis of size 1 be there in both arrays, or in none.

    Args:
        y: the targets, `[N, ..., k]` or `[N]`.
        values: what is predicted of them, with more axes before theirs.
        axes: the letters of these axes.

    Raises:
        ValueError: if the values have another number of axes.
    """
    extra = values.ndim - y.ndim - len(axes)
    if extra == 1 and values.shape[-1] == 1:
        return y, values[..., 0]
    if extra == -1 and y.shape[-1] == 1:
        return y[..., 0], values
    if extra:
        form = f"[{', '.join([*axes, 'N', '...', 'k'])}]"
        raise ValueError(
            f"`y_pred` must be `{form}`, for `y_true` of shape `[N, ..., k]`. "
            f"Received: y_pred of shape {values.shape}, y_true of shape "
            f"{y.shape}"
        )
    return y, values


def places(y_true: Any, predictive: Any, sample_weight: Any) -> Places:
    """Reads the targets of a prediction of numbers.

    Raises:
        TypeError: if it is a prediction of labels.
    """
    if predictive.likelihood.is_classification:
        raise TypeError(
            "`y_pred` must be a prediction of numbers. Received: a prediction "
            f"of labels, with the likelihood {predictive.likelihood!r}"
        )
    return rows.places(y_true, predictive, sample_weight)
