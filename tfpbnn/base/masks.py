"""Keras's masks, which say which places of an output count.

Keras hands a mask on with the tensor that it belongs to, and a tensor that is
computed from others by hand has none. What is done to the rows of outputs is
done to their masks here.
"""

from collections.abc import Callable

import keras

from tfpbnn.base import keras_private
from tfpbnn.base.types import Tensor, Tree


def masks_of(outputs: Tree) -> Tree:
    """The masks of a structure of tensors, with None where there is none."""
    return keras.tree.map_structure(keras_private.mask_of, outputs)


def masked(outputs: Tree, masks: Tree) -> Tree:
    """The same tensors, which have these masks from now on.

    Args:
        outputs: a structure of tensors that nobody else holds.
        masks: the same structure of masks, with None where there is none.
    """

    def put(output: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            keras_private.set_mask(output, mask)
        return output

    return keras.tree.map_structure(put, outputs, masks)


def over_rows(function: Callable[[Tensor], Tensor], outputs: Tree) -> Tree:
    """Applies a function that moves or takes rows to outputs and their masks.

    Args:
        function: takes a tensor and gives a new one.
        outputs: a structure of tensors, which may have masks.
    """

    def apply(output: Tensor) -> Tensor:
        mask = keras_private.mask_of(output)
        moved = None if mask is None else function(mask)
        return masked(function(output), moved)

    return keras.tree.map_structure(apply, outputs)
