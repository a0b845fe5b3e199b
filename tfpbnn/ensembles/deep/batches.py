"""A batch of training data, as the members of an ensemble see it."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.stacking import flatten
from tfpbnn.base.types import Tensor, Tree

# What has an axis of members, behind that of rows: nothing, the weights of
# rows, or all.
LAYOUTS = ("shared", "weights", "own")


class MemberBatch:
    """x, y and weights of rows, in one of `LAYOUTS`.

    Attributes:
        own: what differs between members, `[M, B, ...]` each.
    """

    def __init__(self, layout: str, x: Tree, y: Tree, weights: Tree):
        self._layout = layout
        self._shared = (x, y, weights)
        own: Any = ()
        if layout == "own":
            own = (x, y, weights)
        elif layout == "weights":
            own = weights
        self.own = _map(members_first, own)

    @property
    def first(self) -> tuple[Any, Any, Any]:
        """x, y and weights of the first member."""
        return self.of(_map(lambda t: t[0], self.own))

    @property
    def num_rows(self) -> Tensor:
        """The number of rows that each member sees."""
        x, _, _ = self._shared
        return tf.shape(keras.tree.flatten(x)[0])[0]

    def of(self, part: Any) -> tuple[Any, Any, Any]:
        """x, y and weights of a member, from its part of `own`."""
        if self._layout == "own":
            return part
        x, y, weights = self._shared
        return x, y, part if self._layout == "weights" else weights

    def scored(self, y_pred: Tree) -> tuple[Tree, Tree, Tree]:
        """y, outputs and weights that metrics are to see.

        The mean of the members' outputs; where members see different rows,
        the rows of all of them, one member after another.

        Args:
            y_pred: outputs of the members, `[M, B, ...]`.
        """
        if self._layout != "own":
            _, y, weights = self._shared
            if self._layout == "weights":
                weights = tf.reduce_mean(weights, axis=1)
            return y, _map(lambda t: tf.reduce_mean(t, axis=0), y_pred), weights
        _, y, weights = self.own
        return _map(flatten, y), _map(flatten, y_pred), _map(flatten, weights)


def _map(function: Callable[[Tensor], Any], structure: Tree) -> Tree:
    """Maps all tensors in a structure; None stays."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else function(leaf), structure
    )


def members_first(leaf: Tensor) -> Tensor:
    """`[B, M, ...]` to `[M, B, ...]`, and back."""
    return tf.transpose(leaf, [1, 0, *range(2, len(leaf.shape))])
