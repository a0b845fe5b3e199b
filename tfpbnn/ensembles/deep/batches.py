"""A batch of training data, as the members of an ensemble see it."""

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
    """x, y and weights of rows, in one of `LAYOUTS`.

    Attributes:
        own: what differs between members, `[M, B, ...]` each.
    """

    def __init__(self, layout: str, x: Tree, y: Tree, weights: Tree):
        """Takes a batch as `fit` gives it.

        Args:
            layout: what has an axis of members.
            x: inputs.
            y: targets.
            weights: those of the rows. Where members have rows or weights of
                their own, the pair of `MemberFeed`, if there are any.
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
        """x, y and weights of the first member."""
        return self.of(map_tensors(lambda t: t[0], self.own))

    @property
    def num_rows(self) -> Tensor:
        """The number of rows that each member sees."""
        return num_rows(self._shared[0])

    def of(self, part: Any) -> tuple[Any, Any, Any]:
        """x, y and weights of a member, from its part of `own`."""
        if self._layout == "own":
            return part
        x, y, weights = self._shared
        return x, y, part if self._layout == "weights" else weights

    def scored(self, y_pred: Tree, mask: Tree) -> tuple[Tree, Tree, Tree]:
        """y, outputs and weights that metrics are to see.

        The outputs are the mean of the members' outputs. Where members see
        different rows, they are the rows of all members, one member after
        another.

        Args:
            y_pred: outputs of the members, `[M, B, ...]`.
            mask: the masks of these outputs, with None where there is none.
        """
        if self._layout != "own":
            return self._shared[1], mean_of_stack(y_pred, mask), self._scored
        _, y, _ = self.own
        weights = map_tensors(members_first, self._scored)
        outputs = masked(flat(y_pred), flat(mask))
        return flat(y), outputs, flat(weights)


def flat(structure: Tree) -> Tree:
    """`[M, B, ...]` as `[M * B, ...]`."""
    return map_tensors(flatten, structure)


def members_first(leaf: Tensor) -> Tensor:
    """`[B, M, ...]` to `[M, B, ...]`, and back."""
    return tf.transpose(leaf, [1, 0, *range(2, len(leaf.shape))])
