"""Computes the masks that a network's outputs have."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data
from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.types import Array
from tfpbnn.networks import reading

# Fewer than these need no memory of note.
_ROWS_AT_ONCE = 1024


class OutputMasks:
    """Computes the masks of a model's outputs, for batches of inputs.

    TensorFlow leaves out of the graph what the masks don't depend on, which is
    all of the network's work. A network of several members may take, and give,
    a group of rows for each of them. The masks are those of the first group,
    since members have the same rows here, and the loss is the mean of theirs.
    """

    def __init__(self, model: Any):
        network = reading.template_of(model)

        def masks(x: Any) -> Any:
            with keras.StatelessScope():  # no state is to change by looking
                outputs = network(x, training=False)
            return keras.tree.map_structure(_mask_or_none, outputs)

        self._function = tf.function(masks, reduce_retracing=True)
        self._members = getattr(network, "num_members", 1)

    def __call__(self, x: Any) -> Any:
        """Computes them, as arrays in the outputs' structure, or None."""
        tensors = keras.tree.map_structure(
            lambda leaf: (
                leaf
                if leaf is None or tf.is_tensor(leaf)
                else tf.convert_to_tensor(leaf)
            ),
            x,
        )
        rows = data.length(tensors)
        if self._members > 1:
            tensors = keras.tree.map_structure(
                lambda t: tf.concat([t] * self._members, axis=0), tensors
            )
        found = self._function(tensors)
        return keras.tree.map_structure(
            lambda mask: None if mask.dtype != tf.bool else mask[:rows].numpy(),
            found,
        )

    def of_rows(self, x: Any) -> list[Array | None]:
        """Computes the masks of all outputs, in a list, for any number of rows.

        Args:
            x: inputs, in the network's structure.
        """
        rows = data.length(x)
        parts = [
            keras.tree.flatten(self(data.rows(x, i, i + _ROWS_AT_ONCE)))
            for i in range(0, rows, _ROWS_AT_ONCE)
        ]
        return [
            None if one[0] is None else np.concatenate(one)
            for one in zip(*parts, strict=True)
        ]


def _mask_or_none(output: Any) -> Any:
    """Returns an output's mask; a number for None, which graphs don't take."""
    mask = mask_of(output)
    return tf.zeros([]) if mask is None else tf.cast(mask, tf.bool)
