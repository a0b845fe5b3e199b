"""Averages scores with weights."""

from typing import Any

import numpy as np

from tfpbnn.base import forms
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array


def mean(values: Array, sample_weight: Any = None) -> float:
    """Averages values, of which some may weigh more than others.

    Args:
        values: one value for each row, or place or target of a row, `[N, ...]`.
        sample_weight: the weights, with the first axes of the values; None if
            all weigh the same.
    """
    if sample_weight is None:
        return float(np.mean(values))
    return float(np.average(values, weights=spread(sample_weight, values)))


def spread(sample_weight: Any, values: Array) -> Array:
    """Broadcasts weights to the values.

    Raises:
        ValueError: if the weights don't have the first axes of the values, or
            if NumPy masks some of them.
    """
    forms.check_unmasked("`sample_weight`", sample_weight)
    given = np.asarray(sample_weight)
    weights = over_places(given, values.shape)
    if weights is None:
        raise ValueError(
            "`sample_weight` must have the shape of the scored values, or of "
            f"their first axes, {values.shape}. Received: weights of shape "
            f"{given.shape}"
        )
    return np.broadcast_to(weights, values.shape)
