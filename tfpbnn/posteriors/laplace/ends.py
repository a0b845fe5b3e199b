"""Finds what is linear at the end of a network.

Probabilities and positive parameters come out of an activation, and a network
to first order would leave their range: so what is before it is taken to first
order. To add an activation: an entry in `_ACTIVATIONS`.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfpbnn.base.keras_private import mask_of, with_mask
from tfpbnn.base.types import Tensor

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Exp": tf.exp,
    "Sigmoid": tf.sigmoid,
    "Softmax": tf.nn.softmax,
    "Softplus": tf.math.softplus,
}


class End(NamedTuple):
    """The end of a network.

    Attributes:
        before: what its last activation is of; the output if there is none.
        activation: makes the output of it.
    """

    before: Tensor
    activation: Callable[[Tensor], Tensor]


def end_of(output: Tensor) -> End:
    """Finds the end of a network by its output in a graph."""
    mask, before = mask_of(output), output
    while before.op.type == "Identity":
        before = before.op.inputs[0]
    known = _ACTIVATIONS.get(before.op.type)
    if known is None:
        return End(output, lambda y: with_mask(y, mask))
    return End(before.op.inputs[0], lambda y: with_mask(known(y), mask))
