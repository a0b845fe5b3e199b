"""Handles places: the rows of outputs, or the steps or pixels in them.

Outputs `[B, ..., P]` have the places `[B, ...]`. Masks and weights belong to
places, and are often given with fewer axes. The functions take arrays and
tensors alike.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfpbnn.base import checks, data, forms
from tfpbnn.base.types import Array


def over_places(array: Any, shape: Sequence[int | None]) -> Any:
    """Gives a mask or weights as many axes as places have.

    Args:
        array: one number for all, for each row, or for each place; it may have
            a last axis of size 1 beside those of the places.
        shape: the shape of the places.

    Returns:
        The array, which broadcasts to the shape; None if it can't.
    """
    if len(array.shape) == len(shape) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    rank = len(array.shape)
    if rank > len(shape) or not checks.broadcasts(array.shape, shape[:rank]):
        return None
    index = (..., *[None] * (len(shape) - rank))
    return array[index]


def over_targets(places: Any, y: Any) -> Any:
    """Gives an array over places the axes of their targets.

    Args:
        places: an array of places, `[B, ...]`.
        y: the targets, `[B, ...]` or `[B, ..., k]`.
    """
    return places[..., None] if len(y.shape) > len(places.shape) else places


def weights_of(sample_weight: Any, places: tuple[int, ...]) -> Array | None:
    """Broadcasts weights to the places, in float64; None if there are none.

    Raises:
        ValueError: if they fit neither rows nor places, or are negative or NaN.
    """
    if sample_weight is None:
        return None
    forms.check_unmasked("`sample_weight`", sample_weight)
    given = np.asarray(sample_weight)
    data.check_numbers("`sample_weight`", given)
    weights = over_places(given.astype(np.float64), places)
    if weights is None:
        raise ValueError(
            "`sample_weight` must be one weight for each row, or for each "
            f"place of the outputs, {places}. Received: weights of shape "
            f"{given.shape}"
        )
    if not np.all((weights >= 0) & np.isfinite(weights)):
        raise ValueError(
            "`sample_weight` must be finite and 0 or more. Received: weights "
            f"from {np.min(weights)} to {np.max(weights)}"
        )
    return np.broadcast_to(weights, places)


def mask_of_places(mask: Any, places: tuple[int, ...]) -> Array | None:
    """Broadcasts a mask of rows or places to the places.

    The result is None if the mask leaves nothing out, or if it has other steps
    than the outputs, because a layer has joined the steps that were masked.
    """
    if mask is None:
        return None
    mask = over_places(np.asarray(mask, bool), places)
    if mask is None or np.all(mask):
        return None
    return np.broadcast_to(mask, places)


def all_of(
    conditions: list[Array | None], places: tuple[int, ...]
) -> Array | None:
    """Finds where all conditions hold that are given; None if everywhere."""
    kept: Array = np.ones(places, bool)
    for condition in conditions:
        if condition is not None:
            kept &= condition
    if not kept.any() and kept.size:
        raise ValueError(
            "`y` must have a place that counts. Received: targets of which all "
            "are masked, ignored or of weight 0"
        )
    return None if kept.all() else kept
