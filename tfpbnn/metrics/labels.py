"""Reads labels and probabilities of classes as flat rows that are checked."""

import math
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import data, forms
from tfpbnn.base.types import Array
from tfpbnn.metrics import rows
from tfpbnn.metrics.rows import Rows

# How far from 0 to 1, and from a sum of 1, probabilities in half precision are.
_ROUNDING = 1e-2


class Grid(NamedTuple):
    """Where labels were, before places that don't count were left out.

    Attributes:
        shape: the shape of all labels: that of the places, and for k
            yes-or-no labels of each, k.
        at: the index of each label that counts among all, flattened, `[n]`.
        rank: the number of axes of the places.
    """

    shape: tuple[int, ...]
    at: Array
    rank: int


class Labelled(NamedTuple):
    """Labels with the probabilities of classes.

    Attributes:
        labels: the integers from 0 to K - 1, `[n]`.
        probabilities: the probabilities, `[n, K]` in float64.
        rows: what the n places weigh, and which rows they are of.
        grid: where they were.
    """

    labels: Array
    probabilities: Array
    rows: Rows
    grid: Grid


def labelled(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Labelled:
    """Reads labels and the probabilities of classes.

    Each label of a `Bernoulli` likelihood is a place of its own, with the
    classes no and yes.

    Args:
        y_true: labels `[N, ...]` or `[N, ..., 1]`; or probabilities of classes,
            such as one-hot labels, `[N, ..., K]`, of which the most probable
            is the label.
        y_pred: a prediction of labels; or probabilities `[N, ..., K]`; or those
            of "yes", `[N, ..., 1]` or `[N]`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`, or
            None.

    Raises:
        TypeError: if y_pred is neither a prediction of labels nor numbers.
        ValueError: if shapes don't fit; if probabilities are none, or NaN where
            a place counts; if a label that counts is out of range; if nothing
            counts.
    """
    if rows.is_predictive(y_pred):
        check_kind(y_pred)
        found = rows.places(y_true, y_pred, sample_weight)
        p = found.predictive.summaries[0]
        data.check_finite("y_pred", p)
        labels = hard(found.y, p)
        all_places = y_pred.outputs_shape[:-1]
        # A label of `Bernoulli` has an axis of its own, after its place's.
        own = labels.shape[found.weights.ndim :]
        size = math.prod(own)
        index = np.ravel(found.at)[:, np.newaxis] * size + np.arange(size)
        return Labelled(
            np.ravel(labels).astype(np.int64),
            p.reshape(-1, p.shape[-1]),
            found.rows(labels),
            Grid((*all_places, *own), np.ravel(index), len(all_places)),
        )
    y, p = _aligned(y_true, y_pred)
    y, sample_weight = rows.unmasked(y, sample_weight, p.shape[:-1])
    weights, row, kept = rows.counted(sample_weight, p.shape[:-1])
    y, p = y[kept], p[kept]
    if p.shape[-1] == 1:
        check_range("y_pred", p)
        p = np.concatenate([1 - p, p], axis=-1)
    check_probabilities("y_pred", p)
    p = p.clip(0, 1)  # what rounding put beyond
    if y.ndim == p.ndim:
        check_probabilities("y_true", y)
    labels = hard(y, p)
    _check_labels(labels, p.shape[-1])
    grid = Grid(kept.shape, np.flatnonzero(kept), kept.ndim)
    return Labelled(labels.astype(np.int64), p, Rows(weights, row), grid)


def check_probabilities(name: str, p: Array) -> None:
    """Checks that an array `[..., K]` has probabilities in its last axis.

    Raises:
        ValueError: if they are NaN, outside of [0, 1], or don't sum to 1.
    """
    check_range(name, p)
    sums = p.sum(axis=-1)
    if np.any(np.abs(sums - 1) > _ROUNDING):
        raise ValueError(
            f"`{name}` must sum to 1 over its last axis, that of classes. "
            f"Received: sums from {sums.min():.4g} to {sums.max():.4g}. For "
            "separate yes-or-no labels `[N, k]` give `y_pred[..., np.newaxis]`"
        )


def check_range(name: str, p: Array) -> None:
    """Checks that numbers are finite, and from 0 to 1.

    Raises:
        ValueError: if they are not.
    """
    data.check_finite(name, p)
    low, high = p.min(initial=0), p.max(initial=1)
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(
            f"`{name}` must be probabilities, from 0 to 1. Received: values "
            f"from {low:.4g} to {high:.4g}, which look like logits. Make "
            "probabilities of them by `keras.ops.softmax`, or by "
            "`keras.ops.sigmoid` for one yes-or-no output"
        )


def check_kind(predictive: Any) -> None:
    """Raises if a prediction is none of labels."""
    if not predictive.likelihood.is_classification:
        raise TypeError(
            "`y_pred` must be a prediction of labels. Received: a prediction "
            f"of numbers, with the likelihood {predictive.likelihood!r}"
        )


def _aligned(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Gives labels, or one-hot labels, that fit probabilities `[N, .., K]`."""
    forms.check_unmasked("`y_pred`", y_pred)
    y, p = rows.array("y_true", y_true), rows.array("y_pred", y_pred)
    if p.ndim == 1:
        p = p[:, np.newaxis]
    if y.ndim == p.ndim and y.shape[-1] == 1:
        y = y[..., 0]
    if p.ndim < 2 or y.shape not in _shapes(p.shape):
        raise ValueError(
            "`y_true` must have one label for each place of `y_pred`, which is "
            "probabilities with the classes in the last axis (of draws, take "
            f"the mean first). Received: y_true of shape {np.shape(y_true)}, "
            f"y_pred of shape {np.shape(y_pred)}"
        )
    return y, p.astype(np.float64)


def _check_labels(labels: Array, num_classes: int) -> None:
    data.check_finite("y_true", labels)
    valid = (labels >= 0) & (labels < num_classes) & (labels % 1 == 0)
    if not np.all(valid):
        raise ValueError(
            f"`y_true` must hold labels from 0 to {num_classes - 1}, for "
            f"{num_classes} classes. Received: {labels[~valid][:5]} among "
            "them. Hide labels to ignore by `np.ma.masked_equal(y_true, 255)`"
        )


def _shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shapes of labels that fit probabilities; one-hot for 2 or more."""
    return [shape[:-1]] if shape[-1] == 1 else [shape[:-1], shape]


def hard(y: Array, p: Array) -> Array:
    """Turns targets, which may be probabilities of classes, into labels."""
    return np.argmax(y, axis=-1) if y.ndim == p.ndim else y
