"""Between features and rows: members that go through a network side by side."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.stacking import flatten
from tfpbnn.base.types import Config, Tensor
from tfpbnn.layers.members.base import MembersLayer, drawn_members, in_draws
from tfpbnn.layers.noise import Noise


@registry.register("layers")
class SplitMembers(MembersLayer):
    """Outputs of all members side by side, as rows in groups.

    In `tfpbnn.predict` draw s is member `s % num_members`, and all that comes
    before is computed once for all draws.

    Args:
        num_members: the count of members whose outputs the features are.

    Call arguments:
        inputs: `(batch, ..., num_members * k)`, member by member.
        order: the second output of `JoinMembers`, whose order of the rows is
            undone in training.

    Output shape:
        `(num_members * batch, ..., k)`, the first member's rows first.

    Raises:
        ValueError: if `num_members` is not a positive integer; when called,
            if it does not divide the count of features.

    Example:
    ```python
    layer = tfpbnn.layers.SplitMembers(num_members=4)
    layer(keras.ops.ones((2, 12))).shape                         # (8, 3)
    ```
    """

    def call(
        self,
        inputs: Tensor,
        order: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        drawn = drawn_members(self.num_members, self.name)
        if drawn is None:
            members = self._apart(inputs[tf.newaxis])[0]  # [M, B, ..., k]
            if training and order is not None:
                # Where each row is: the inverse of which row is where.
                places = tf.argsort(order, axis=0)
                members = tf.gather(
                    members, tf.transpose(places), axis=1, batch_dims=1
                )
            return flatten(members)
        x = in_draws(inputs)
        if x.shape[0] == 1:  # the same for all draws
            return flatten(tf.gather(self._apart(x)[0], drawn))
        return flatten(tf.gather(self._apart(x), drawn, axis=1, batch_dims=1))

    def _apart(self, x: Tensor) -> Tensor:
        """`[G, B, ..., M * k]` as `[G, M, B, ..., k]`."""
        each = self._each(x.shape)
        sizes = tf.shape(x)[:-1]
        y = tf.reshape(x, tf.concat([sizes, [self.num_members, each]], 0))
        y.set_shape([*x.shape[:-1], self.num_members, each])
        rank = len(y.shape)
        between = range(1, rank - 2)
        return tf.transpose(y, [0, rank - 2, *between, rank - 1])

    def _each(self, shape: Any) -> int:
        if shape[-1] is None or shape[-1] % self.num_members:
            raise ValueError(
                "`num_members` must divide the number of features. Received: "
                f"num_members={self.num_members}, inputs of shape "
                f"{tuple(shape)}"
            )
        return shape[-1] // self.num_members

    def get_config(self) -> Config:
        return super().get_config() | {"num_members": self.num_members}


@registry.register("layers")
class JoinMembers(keras.layers.Layer):
    """Inputs of all members side by side, as features of one network.

    In training each member has the rows of the batch in a random order of its
    own, so that the inputs of one network are independent of each other. In
    inference all members have the same inputs.

    Args:
        num_members: the count of members, a positive integer.
        input_repetition_probability: the part of the rows, in training, that
            is the same for all members.
        batch_repetition: how often each row is there in a training batch: more
            orders of the rows for each gradient, which is less noisy then.
        seed: the seed of the orders. None takes one from Python's `random`,
            which `keras.utils.set_random_seed` seeds.

    Call arguments:
        inputs: `(batch, ..., features)`.
        training: whether orders differ.

    Output shape:
        `(batch, ..., num_members * features)`, and the orders, for
        `SplitMembers`: `(batch, num_members)`. In training the batch is
        `batch_repetition` times as large.

    Raises:
        ValueError: if a number is not positive, or the probability not from 0
            to 1.

    Example:
    ```python
    join = tfpbnn.layers.JoinMembers(num_members=3)
    features, order = join(keras.ops.ones((2, 4)))
    features.shape                                               # (2, 12)
    ```

    Reference:
        [Havasi et al., 2021](https://arxiv.org/abs/2010.06610)
    """

    def __init__(
        self,
        num_members: int,
        input_repetition_probability: float = 0.0,
        batch_repetition: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_members = checks.positive_integer("num_members", num_members)
        self.input_repetition_probability = checks.fraction(
            "input_repetition_probability", input_repetition_probability
        )
        self.batch_repetition = checks.positive_integer(
            "batch_repetition", batch_repetition
        )
        self.noise = Noise(self, seed, in_inference=False)

    def build(self, input_shape: Any) -> None:
        self.noise.build(self)

    def call(
        self, inputs: Tensor, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        rows = tf.shape(inputs)[0]
        if not training:
            order = tf.tile(
                tf.range(rows)[:, tf.newaxis], [1, self.num_members]
            )
            return tf.concat([inputs] * self.num_members, axis=-1), order
        order = self._orders(rows * self.batch_repetition)
        parts = [
            tf.gather(inputs, one % rows)
            for one in tf.unstack(order, self.num_members, axis=1)
        ]
        return tf.concat(parts, axis=-1), order

    def _orders(self, rows: Tensor) -> Tensor:
        """Permutations of the rows, `[rows, M]`."""
        key = self.noise.next_key()
        # The last rows stay where they are, for all members.
        first = _permutations(random.fold(key, 0), 1, rows)[0]
        moved = 1.0 - self.input_repetition_probability
        count = tf.cast(tf.round(moved * tf.cast(rows, tf.float32)), tf.int32)
        places = _permutations(random.fold(key, 1), self.num_members, count)
        stay = tf.tile(first[tf.newaxis, count:], [self.num_members, 1])
        order = tf.concat([tf.gather(first, places), stay], axis=1)
        return tf.transpose(order)

    def get_config(self) -> Config:
        return super().get_config() | {
            "num_members": self.num_members,
            "input_repetition_probability": self.input_repetition_probability,
            "batch_repetition": self.batch_repetition,
            "seed": self.seed,
        }


def _permutations(key: Tensor, count: int, size: Tensor) -> Tensor:
    """Permutations of `range(size)`, `[count, size]`."""
    words = random.bits(key, [count, size], tf.int32)
    return tf.argsort(words, axis=1)
