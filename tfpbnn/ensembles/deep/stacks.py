"""The weights of M networks of one architecture, stacked `[M, ...]`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.layers.kl import is_weight
from tfpbnn.networks import copying
from tfpbnn.particles.state import MemberValues


class MemberState(NamedTuple):
    """The values of one network's variables."""

    trainable: list[Tensor]
    other: list[Tensor]


class Stacks:
    """What runs a member: networks to trace with, and their weights.

    Keras must not track the networks, whose own variables are only stood in
    for: so this is no layer, and the model that owns it owns the stacks.

    Attributes:
        networks: one for all members, or one for each if they differ in more
            than the values of their variables.
        trainable: `[M, ...]`, in the order of a network's.
        other: likewise of the variables that are not trained: statistics and
            the states of noise.
    """

    def __init__(
        self,
        owner: keras.Model,
        members: Sequence[keras.Model],
        alike: bool,
    ):
        """Adds the stacks to the owner's variables.

        Args:
            owner: the model that the variables are to belong to.
            members: M networks.
            alike: whether one of them can stand for all.
        """
        self.networks = tuple(members[: 1 if alike else None])
        self.size = len(members)
        network = self.networks[0]
        values = [
            [np.asarray(v) for v in self.variables(member)]
            for member in members
        ]
        is_trained = {id(v) for v in network.trainable_variables}
        stacks = [
            _add_stack(
                owner,
                network.name,
                variable,
                [row[i] for row in values],
                id(variable) in is_trained,
            )
            for i, variable in enumerate(self.variables(network))
        ]
        self._all = stacks
        pairs = list(zip(self.variables(network), stacks, strict=True))
        self.trainable = [
            next(s for v, s in pairs if v is variable)
            for variable in network.trainable_variables
        ]
        self.other = [s for v, s in pairs if id(v) not in is_trained]

    def network(self, member: Any) -> keras.Model:
        """The network that a member, by its index, is traced with."""
        return self.networks[member if len(self.networks) > 1 else 0]

    def variables(self, network: keras.Model) -> list[keras.Variable]:
        """The network's variables that are stacked.

        Of networks that differ, so in the layers that draw, not the states of
        what Keras draws: each has its own, as many as it needs.
        """
        is_alone = len(self.networks) == 1
        return network.variables if is_alone else network.weights

    def values(self, member: int) -> list[Any]:
        """NumPy values of one member's variables, in that order."""
        return [np.array(stack[member]) for stack in self._all]

    def assign(self, member: int, values: Sequence[Any]) -> None:
        """Replaces one member's variables, in that order."""
        for stack, value in zip(self._all, values, strict=True):
            stack.value.scatter_nd_update([[member]], [value])

    def settle(self) -> None:
        """Gives the networks the values of members, and what follows of them.

        Such as the constants that an adapted normalization computes.
        """
        for number, network in enumerate(self.networks):
            values = self.values(number)
            copying.set_values(self.variables(network), values)
            copying.settle(network)

    def are_same(self) -> bool:
        """Whether all members have the same weights."""
        return all(
            bool(tf.reduce_all(stack.value == stack.value[:1]))
            for stack in self.trainable
        )

    def slice(self, member: int | Tensor) -> MemberState:
        """One member's values, as tensors."""
        return MemberState(
            [stack.value[member] for stack in self.trainable],
            [stack.value[member] for stack in self.other],
        )

    def call(
        self,
        network: keras.Model,
        state: MemberState,
        function: Callable[..., Any],
    ) -> tuple[Any, list[Tensor]]:
        """`function(network)` with the member's values in its variables.

        Returns:
            What the function does, and the values that variables which are not
            trained have afterwards.
        """
        stacked = self.variables(network)
        trained = {id(v) for v in network.trainable_variables}
        other = [v for v in stacked if id(v) not in trained]
        mapping = [
            *zip(network.trainable_variables, state.trainable, strict=True),
            *zip(other, state.other, strict=True),
        ]
        with MemberValues(mapping) as scope:
            result = function(network)
        after = map(scope.get_current_value, other)
        return result, [
            old if new is None else tf.convert_to_tensor(new)
            for old, new in zip(state.other, after, strict=True)
        ]


class _PerMember(keras.constraints.Constraint):
    """A constraint of each member's part of a stack."""

    def __init__(self, constraint: Any):
        self._constraint = constraint

    def __call__(self, w: Any) -> Any:
        return tf.stack([self._constraint(part) for part in tf.unstack(w)])


def _add_stack(
    owner: keras.Model,
    network: str,
    variable: keras.Variable,
    values: list[Any],
    trainable: bool,
) -> keras.Variable:
    def initial(shape: Any, dtype: Any) -> Tensor:
        return tf.cast(tf.reshape(np.stack(values), shape), dtype)

    # Keras takes no slashes in names.
    stack = owner.add_weight(
        name=variable.path.removeprefix(f"{network}/").replace("/", "."),
        shape=(len(values), *variable.shape),
        dtype=variable.dtype,
        initializer=initial,
        trainable=trainable,
        autocast=False,
        constraint=variable.constraint and _PerMember(variable.constraint),
    )
    if is_weight(variable):
        stack.is_managed = variable.is_managed
        stack.factor = variable.factor
    return stack
