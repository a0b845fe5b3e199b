"""Keras's masks, which say which places of an output count.

Keras hands a mask on with the tensor that it belongs to, and a tensor that is
computed from others by hand has none. What is done to the rows of outputs is
done to their masks here.
"""

import functools
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.base.stacking import map_tensors
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
    return keras.tree.map_structure(keras_private.with_mask, outputs, masks)


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


def mean_of_stack(outputs: Tree, masks: Tree) -> Tree:
    """The mean of a stack of networks' outputs: `[S, B, ...]` to `[B, ...]`.

    Args:
        outputs: `[S, B, ...]` each.
        masks: the stacks of their masks, with None where there is none. A
            place counts if it does for all networks.
    """
    return masked(
        map_tensors(lambda y: tf.reduce_mean(y, axis=0), outputs),
        map_tensors(lambda mask: tf.reduce_all(mask, axis=0), masks),
    )


def mean_of(outputs: Sequence[Tree]) -> Tree:
    """The mean of the outputs of several networks, each `[B, ...]`.

    A place counts if it does for all networks that have a mask.
    """

    def mean(*ys: Tensor) -> Tensor:
        found = [keras_private.mask_of(y) for y in ys]
        masks = [mask for mask in found if mask is not None]
        common = functools.reduce(tf.logical_and, masks) if masks else None
        return masked(tf.add_n(ys) / len(ys), common)

    return keras.tree.map_structure(mean, *outputs)
