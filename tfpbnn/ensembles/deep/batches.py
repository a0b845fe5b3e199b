"""Defines a batch of training data, as the members of an ensemble see it."""

from typing import Any

import tensorflow as tf

from tfpbnn.base.data import num_rows
from tfpbnn.base.masks import masked, mean_of_stack
from tfpbnn.base.stacking import flatten, map_tensors
from tfpbnn.base.types import Tensor, Tree

# What has an axis of members, behind that of rows: nothing, the weights of
# rows, or all.
LAYOUTS = ("shared", "weights", "own")


class MemberBatch:
    """The inputs, targets and weights of a batch's rows, in one of `LAYOUTS`.

    Attributes:
        own: the parts that differ between members, `[M, B, ...]` each.
    """

    def __init__(self, layout: str, x: Tree, y: Tree, weights: Tree):
        """Takes a batch as `fit` gives it.

        Args:
            layout: one of `LAYOUTS`, which says what has an axis of members.
            x: the inputs.
            y: the targets.
            weights: the weights of the rows, or None. Where members have
                their own rows or weights, the tuple that `MemberFeed` gives.
        """
        self._layout = layout
        trained = scored = weights
        if layout != "shared" and weights is not None:
            trained, *more = weights
            scored = more[0] if more else None
        self._shared = (x, y, trained)
        self._scored = scored
        own: Any = ()
        if layout == "own":
            own = (x, y, trained)
        elif layout == "weights":
            own = trained
        self.own = map_tensors(members_first, own)

    @property
    def first(self) -> tuple[Any, Any, Any]:
        """The inputs, targets and weights of the first member."""
        return self.of(map_tensors(lambda t: t[0], self.own))

    @property
    def num_rows(self) -> Tensor:
        """The number of rows that each member sees."""
        return num_rows(self._shared[0])

    def of(self, part: Any) -> tuple[Any, Any, Any]:
        """Returns x, y and weights of a member, from its part of `own`."""
        if self._layout == "own":
            return part
        x, y, weights = self._shared
        return x, y, part if self._layout == "weights" else weights

    def scored(self, y_pred: Tree, mask: Tree) -> tuple[Tree, Tree, Tree]:
        """Returns the targets, outputs and weights to update metrics with.

        The outputs are the mean of the members' outputs. Where members see
        different rows, they are the rows of all members, one member after
        another.

        Args:
            y_pred: the outputs of the members, `[M, B, ...]`.
            mask: the masks of these outputs, with None where there is none.
        """
        if self._layout != "own":
            return self._shared[1], mean_of_stack(y_pred, mask), self._scored
        _, y, _ = self.own
        weights = map_tensors(members_first, self._scored)
        outputs = masked(flat(y_pred), flat(mask))
        return flat(y), outputs, flat(weights)


def flat(structure: Tree) -> Tree:
    """Joins the first two axes: `[M, B, ...]` becomes `[M * B, ...]`."""
    return map_tensors(flatten, structure)


def members_first(leaf: Tensor) -> Tensor:
    """Swaps the first two axes: `[B, M, ...]` becomes `[M, B, ...]`."""
    return tf.transpose(leaf, [1, 0, *range(2, len(leaf.shape))])
