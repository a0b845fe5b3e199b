"""Reads probabilities of classes as forecasts of events, in bins."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.metrics.labels import labelled
from tfpbnn.metrics.rows import Rows

# Cumulative shares that differ by less are equal.
_ROUNDING = 1e-9


class Events(NamedTuple):
    """Forecasts of events that came or not.

    Attributes:
        p: the probabilities of the events, `[m]`.
        came: 1 for events that came, else 0, `[m]`.
        group: the kind of each event, `[m]`: forecasts of other kinds are never
            in one bin.
        rows: what they weigh, and which rows they are of.
    """

    p: Array
    came: Array
    group: Array
    rows: Rows


def events(y_true: Any, y_pred: Any, sample_weight: Any, of: str) -> Events:
    """Reads labels and probabilities as events, of which there are three kinds.

    Args:
        y_true, y_pred, sample_weight: as in `labelled`.
        of: "confidence" for "the most probable class is the label"; "top_label"
            for the same, but apart for each predicted class; "classes" for
            "the label is k", for each class k.

    Raises:
        ValueError: if `of` has another value, or as `labelled`.
    """
    checks.one_of("of", of, ["confidence", "top_label", "classes"])
    labels, p, rows, _ = labelled(y_true, y_pred, sample_weight)
    num, classes = p.shape
    if of == "classes":
        which = np.tile(np.arange(classes), num)
        came = np.ravel(labels[:, np.newaxis] == np.arange(classes))
        each = Rows(*(np.repeat(part, classes) for part in rows))
        return Events(np.ravel(p), came.astype(np.float64), which, each)
    top = np.argmax(p, axis=-1)
    group = top if of == "top_label" else np.zeros_like(top)
    came = (top == labels).astype(np.float64)
    return Events(np.max(p, axis=-1), came, group, rows)


def equal_width(p: Array, group: Array, num_bins: int) -> Array:
    """Finds the bins `[a, b)` of equal width, numbered apart in each group."""
    index = np.floor(p * num_bins).astype(np.int64)
    return group * num_bins + np.clip(index, 0, num_bins - 1)


def equal_mass(
    p: Array, group: Array, num_bins: int
) -> Callable[[Array], Array]:
    """Makes a function of weights that finds bins of equal weight.

    Equal probabilities are in one bin, that of the middle of their weight. So
    bins don't depend on the order of rows.
    """
    levels, rank = np.unique(p, return_inverse=True)
    keys, index = np.unique(group * len(levels) + rank, return_inverse=True)
    of_key: Array = keys // len(levels)
    kinds = np.arange(of_key.max() + 1)
    starts = np.array(np.searchsorted(of_key, kinds))

    def bins(weights: Array) -> Array:
        mass = np.bincount(index, weights, len(keys))
        below: Array = np.cumsum(mass) - mass
        totals = np.bincount(of_key, mass)
        # Groups may be empty, in themselves or in a resample.
        at = starts[of_key]
        middle = below - below[at] + mass / 2
        share = middle / np.maximum(totals[of_key], np.finfo(float).tiny)
        which = np.floor(share * num_bins + _ROUNDING).clip(0, num_bins - 1)
        found = which.astype(np.int64) + of_key * num_bins
        return np.take(found, index)

    return bins
