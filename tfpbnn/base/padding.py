"""Joins arrays of batches, of which some have fewer steps than others."""

from collections.abc import Sequence

import numpy as np

from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array


def joined(parts: Sequence[Array], axis: int = 0) -> Array:
    """The parts along an axis, without a copy if there is one.

    Where their other axes differ, shorter parts get zeros at their ends.

    Args:
        parts: arrays with as many axes each.
        axis: that along which they are joined.
    """
    if len(parts) == 1:
        return parts[0]
    longest = np.max([part.shape for part in parts], axis=0)
    return np.concatenate(
        [_padded(part, longest, axis) for part in parts], axis
    )


def _padded(part: Array, longest: Array, axis: int) -> Array:
    missing = longest - part.shape
    missing[axis] = 0
    if not np.any(missing):
        return part
    return np.pad(part, [(0, more) for more in missing.tolist()])


def joined_masks(
    masks: Sequence[Array | None], places: Sequence[tuple[int, ...]]
) -> Array | None:
    """The masks of all batches: what `joined` adds to outputs doesn't count.

    Args:
        masks: of the outputs of each batch, or None where all places count.
        places: the shape of these places, `(B, ...)`.

    Returns:
        None if there is no mask, and nothing was added.
    """
    are_alike = len({shape[1:] for shape in places}) == 1
    if are_alike and all(mask is None for mask in masks):
        return None
    found = []
    for mask, shape in zip(masks, places, strict=True):
        spread = None if mask is None else over_places(mask, shape)
        whole: Array = np.ones(shape, bool)
        found.append(whole if spread is None else whole & spread)
    return joined(found)
