"""Scores of class probabilities."""

from typing import Any

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.types import Array
from tfpbnn.metrics import weights


def accuracy(
    labels: Array, probabilities: Array, sample_weight: Any = None
) -> float:
    """The share of rows whose most probable class is the label.

    Args:
        labels: integers, `[...]`.
        probabilities: `[..., K]`.
        sample_weight: weights with the first axes of the labels.
    """
    check_finite("labels", labels)
    is_right = np.argmax(probabilities, axis=-1) == labels
    return weights.mean(is_right, sample_weight)


def brier(
    labels: Array, probabilities: Array, sample_weight: Any = None
) -> float:
    """The Brier score: mean squared distance to the one-hot label, in [0, 2].

    Args:
        labels: integers, `[...]`.
        probabilities: `[..., K]`.
        sample_weight: weights with the first axes of the labels.

    Reference:
        Brier, 1950, Verification of forecasts expressed in terms of probability
    """
    check_finite("labels", labels)
    p = np.asarray(probabilities, np.float64)
    indices = np.asarray(labels, np.int64)[..., np.newaxis]
    of_label = np.take_along_axis(p, indices, axis=-1)[..., 0]
    distances = np.sum(np.square(p), axis=-1) - 2 * of_label + 1
    return weights.mean(distances, sample_weight)


def ece(
    labels: Array,
    probabilities: Array,
    num_bins: int = 15,
    sample_weight: Any = None,
) -> float:
    """Expected calibration error of the most probable class, in [0, 1].

    Args:
        labels: integers, `[...]`.
        probabilities: `[..., K]`.
        num_bins: how many bins of equal width the confidences are put into.
        sample_weight: weights with the first axes of the labels.

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    check_finite("labels", labels)
    confidence = np.max(probabilities, axis=-1)
    is_right = np.argmax(probabilities, axis=-1) == labels
    bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    each = weights.spread(
        1.0 if sample_weight is None else sample_weight, confidence
    )
    # Of each bin its gap between accuracy and confidence, times its share.
    gaps = np.bincount(np.ravel(bins), np.ravel(each * (is_right - confidence)))
    return float(np.sum(np.abs(gaps)) / np.sum(each))
