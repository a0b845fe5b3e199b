"""Tensors `[S, B, ...]` as `[S * B, ...]`, and back."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor


def over_rows(function: Callable[[Tensor], Any], x: Tensor) -> Any:
    """`[S, B, ...]` through a function of `[S * B, ...]`, to tensors of it."""
    sizes = tf.shape(x)

    def unflatten(flat: Tensor) -> Tensor:
        y = tf.reshape(flat, tf.concat([sizes[:2], tf.shape(flat)[1:]], 0))
        y.set_shape([x.shape[0], x.shape[1], *flat.shape[1:]])
        return y

    flat = function(tf.reshape(x, tf.concat([[-1], sizes[2:]], 0)))
    return keras.tree.map_structure(unflatten, flat)


def flat(tensor: Tensor) -> Tensor:
    """`[G, B, ...]` as `[G * B, ...]`."""
    found = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], 0))
    groups, rows = tensor.shape[:2]
    size = None if None in (groups, rows) else groups * rows
    found.set_shape([size, *tensor.shape[2:]])
    return found
