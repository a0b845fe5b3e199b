"""Places: the rows of a model's outputs, or the steps or pixels in them.

Outputs `[B, ..., P]` have the places `[B, ...]`. Masks and weights belong to
places, and are often given with fewer axes. The functions take arrays and
tensors alike.
"""

from collections.abc import Sequence
from typing import Any

from tfpbnn.base import checks


def over_places(array: Any, shape: Sequence[int | None]) -> Any:
    """A mask or weights with as many axes as places have.

    Args:
        array: one number for all, for each row, or for each place; it may have
            a last axis of size 1 beside those of the places.
        shape: that of the places.

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
    """What belongs to places, with the axes of their targets.

    Args:
        places: `[B, ...]`.
        y: targets `[B, ...]` or `[B, ..., k]`.
    """
    return places[..., None] if len(y.shape) > len(places.shape) else places
