"""What layers of ensembles share whose members are in one network."""

from typing import Any

import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.stacking import unflatten
from tfpbnn.base.types import Tensor
from tfpbnn.layers.random_layer import RandomLayer


class MembersLayer(RandomLayer):
    """A layer that computes something else for each member, and has no noise.

    In a draw scope the draw's index says which member it is; elsewhere rows
    are in groups, one for each member, as in a batch that was repeated.
    """

    def __init__(self, num_members: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_members = checks.positive_integer("num_members", num_members)

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        return random.Drawing(num_draws=self.num_members, can_stack=True)


def drawn_members(num_members: int, layer_name: str) -> Tensor | None:
    """The members of the scope's draws, `[S]`; None outside of a scope.

    Raises:
        ValueError: in a scope of the means, whose draws have no indices.
    """
    scope = random.current_scope()
    if scope is None:
        return None
    if scope.indices is None:
        raise ValueError(
            'draws="mean" needs a model that one network can stand for. '
            f"Received: one with {num_members} members, by its layer "
            f"{layer_name!r}. Average them: `predict` without `draws=`."
        )
    return tf.reshape(scope.indices % num_members, [-1])


def grouped(inputs: Tensor, num_groups: int, layer_name: str) -> Tensor:
    """`[G * B, ...]` as `[G, B, ...]`.

    Raises:
        ValueError: if the rows are no multiple of G; where their count is
            known in the graph only, that fails there.
    """
    message = (
        f"The batch of {layer_name!r} must have a multiple of `num_members` "
        "rows, in one group for each member: repeat the batch "
        "(`keras.ops.tile`), drop the last batch if it is smaller, or use the "
        "model of `tfpbnn.ensembles.to_batch_ensemble`, which repeats it. "
        f"Received: num_members={num_groups}"
    )
    rows = inputs.shape[0]
    if rows is not None and rows % num_groups:
        raise ValueError(f"{message}, {rows} rows")
    dependencies = []
    if rows is None:
        size = tf.shape(inputs)[0]
        fits = tf.equal(size % num_groups, 0)
        dependencies.append(tf.debugging.Assert(fits, [message, "rows:", size]))
    with tf.control_dependencies(dependencies):
        shape = tf.concat([[num_groups, -1], tf.shape(inputs)[1:]], 0)
        # XLA drops the assertion: there the operation's name has to say it.
        name = "batch_size_must_be_a_multiple_of_num_members"
        found = tf.reshape(inputs, shape, name=name)
    each = None if rows is None else rows // num_groups
    found.set_shape([num_groups, each, *inputs.shape[1:]])
    return found


def in_draws(inputs: Tensor) -> Tensor:
    """The inputs of each draw of the current scope, `[S or 1, B, ...]`."""
    scope = random.current_scope()
    assert scope is not None
    if not scope.is_stacked or scope.is_shared:
        return inputs[tf.newaxis]
    return unflatten(inputs, tf.shape(scope.key)[0])
