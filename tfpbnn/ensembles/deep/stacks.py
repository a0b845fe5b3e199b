"""Holds the weights of M networks of one architecture, stacked `[M, ...]`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.ensembles.deep import networks
from tfpbnn.layers.kl import is_weight
from tfpbnn.networks import copying
from tfpbnn.particles.state import MemberValues


class MemberState(NamedTuple):
    """The values of one network's variables."""

    trainable: list[Tensor]
    other: list[Tensor]


class Stacks:
    """The networks that members are traced with, and the members' weights.

    Keras must not track the networks, since the stacks take the place of their
    variables. So this is no layer, and the stacks belong to its owner.

    Attributes:
        networks: one for all members, or one for each if they differ in more
            than the values of their variables.
        trainable: the stacks `[M, ...]` of trainable variables, in the order of
            a network's.
        other: the stacks of the other variables: statistics, and the states
            of random numbers.
        shared: the frozen weights that all members have in common, which are
            the network's own.
    """

    def __init__(
        self,
        owner: keras.Model,
        members: Sequence[keras.Model],
        alike: bool,
        share_frozen: bool = False,
    ):
        """Adds the stacks to the owner's variables.

        Args:
            owner: the model that the variables are to belong to.
            members: M networks.
            alike: whether one of them can stand for all.
            share_frozen: whether frozen weights stay in that one, and are not
                stacked.
        """
        self.networks = tuple(members[: 1 if alike else None])
        self.size = len(members)
        network = self.networks[0]
        # Where they are among a network's variables.
        self._shared = (
            networks.frozen_places(network) if share_frozen else set()
        )
        self.shared = [network.variables[i] for i in sorted(self._shared)]
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
        """Returns the network to trace a member, given by its index, with."""
        return self.networks[member if len(self.networks) > 1 else 0]

    def variables(self, network: keras.Model) -> list[keras.Variable]:
        """Lists the network's variables that are stacked.

        If networks differ, the states of Keras's random numbers are left out,
        since networks may have different numbers of them.
        """
        is_alone = len(self.networks) == 1
        every = network.variables if is_alone else network.weights
        return [v for i, v in enumerate(every) if i not in self._shared]

    def has_shared_of(self, network: keras.Model) -> bool:
        """Says whether a network's weights are the shared ones, where such."""
        found = [network.variables[i] for i in sorted(self._shared)]
        pairs = zip(self.shared, found, strict=True)
        return all(np.array_equal(own, its) for own, its in pairs)

    def values(self, member: int) -> list[Any]:
        """Reads one member's values as NumPy arrays, in `variables`' order."""
        return [np.array(stack[member]) for stack in self._all]

    def assign(self, member: int, values: Sequence[Any]) -> None:
        """Replaces one member's values, in `variables`' order."""
        for stack, value in zip(self._all, values, strict=True):
            stack.value.scatter_nd_update([[member]], [value])

    def settle(self) -> None:
        """Sets the networks' variables to those of members.

        Then layers compute what follows from these, such as the constants of an
        adapted normalization.
        """
        for number, network in enumerate(self.networks):
            values = self.values(number)
            copying.set_values(self.variables(network), values)
            copying.settle(network)

    def are_same(self) -> bool:
        """Says whether all members have the same weights."""
        return all(
            bool(tf.reduce_all(stack.value == stack.value[:1]))
            for stack in self.trainable
        )

    def slice(self, member: int | Tensor) -> MemberState:
        """Returns one member's values, as tensors."""
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
        """Calls `function(network)` with the member's values in its variables.

        Returns:
            The result of the function, and the values that the variables which
            are not trained have afterwards.
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
    """Applies a constraint to each member's part of a stack."""

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
        if variable.is_managed:
            stack.factor = variable.factor
    return stack
