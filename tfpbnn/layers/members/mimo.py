"""Between features and rows: members that go through a network side by side."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.masks import masked
from tfpbnn.base.stacking import flatten, map_tensors
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

    def __init__(self, num_members: int, **kwargs: Any):
        super().__init__(num_members, **kwargs)
        self.supports_masking = True

    def call(
        self,
        inputs: Tensor,
        order: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        drawn = drawn_members(self.num_members, self.name)
        if drawn is not None:
            return self._drawn(inputs, drawn)
        members = self._apart(inputs[tf.newaxis])[0]  # [M, B, ..., k]
        both = members, self._masks(inputs, order, training)
        if training and order is not None:
            # Where each row is: the inverse of which row is where.
            places = tf.transpose(tf.argsort(order, axis=0))
            both = map_tensors(
                lambda t: tf.gather(t, places, axis=1, batch_dims=1), both
            )
        return masked(*map_tensors(flatten, both))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of each member, as it is where all have the same rows."""
        if previous_mask is None:
            return None
        return keras.ops.concatenate([previous_mask] * self.num_members)

    def _drawn(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        x, mask = in_draws(inputs), mask_of(inputs)
        if x.shape[0] == 1:  # the same for all draws
            y = tf.gather(self._apart(x)[0], drawn)
        else:
            y = tf.gather(self._apart(x), drawn, axis=1, batch_dims=1)
        if mask is not None:
            of_draws = in_draws(mask)
            shape = tf.concat([tf.shape(drawn), tf.shape(of_draws)[1:]], 0)
            mask = flatten(tf.broadcast_to(of_draws, shape))
        return masked(flatten(y), mask)

    def _masks(self, inputs: Tensor, order: Any, training: Any) -> Any:
        """The members' masks in the order of the inputs' rows, `[M, B, ...]`.

        Raises:
            ValueError: if members have rows of their own, and only a mask that
                is common to them is known.
        """
        own, common = mask_of(order), mask_of(inputs)
        if own is not None:
            return tf.transpose(own, [1, 0, *range(2, len(own.shape))])
        if common is None:
            return None
        if training and order is not None:
            raise ValueError(
                "Rows must be masked before they are joined, so that each "
                "member has its own mask. Received: a mask of joined rows. Put "
                "`keras.layers.Masking` before `JoinMembers`"
            )
        return tf.stack([common] * self.num_members)

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
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self.noise.build(self)

    def call(
        self, inputs: Tensor, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        rows, mask = tf.shape(inputs)[0], mask_of(inputs)
        if training:
            order = self._orders(rows * self.batch_repetition)
            places = tf.unstack(order % rows, self.num_members, axis=1)
            parts = [tf.gather(inputs, one) for one in places]
        else:
            order = tf.tile(
                tf.range(rows)[:, tf.newaxis], [1, self.num_members]
            )
            places = tf.unstack(order, self.num_members, axis=1)
            parts = [inputs] * self.num_members
        features = tf.concat(parts, axis=-1)
        if mask is None:
            return features, order
        own = tf.stack([tf.gather(mask, one) for one in places], axis=1)
        # A step of the network is there if it is for any member.
        return masked((features, order), (tf.reduce_any(own, axis=1), own))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Where a step is masked for all members; `call` knows the rest."""
        return previous_mask, None

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
