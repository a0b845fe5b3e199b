"""The weights of M networks of one architecture, stacked `[M, ...]`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.types import Tensor


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
        networks: Sequence[keras.Model],
        values: Sequence[Sequence[Any]],
    ):
        """Adds the stacks to the owner's variables.

        Args:
            owner: the model that the variables are to belong to.
            networks: see the attributes.
            values: of the variables of each member, in the order of
                `network.variables`.
        """
        self.networks = tuple(networks)
        self.size = len(values)
        network = self.networks[0]
        is_trained = {id(v) for v in network.trainable_variables}
        stacks = [
            _add_stack(
                owner,
                variable,
                [row[i] for row in values],
                id(variable) in is_trained,
            )
            for i, variable in enumerate(network.variables)
        ]
        self._all = stacks
        pairs = list(zip(network.variables, stacks, strict=True))
        self.trainable = [
            next(s for v, s in pairs if v is variable)
            for variable in network.trainable_variables
        ]
        self.other = [s for v, s in pairs if id(v) not in is_trained]

    def network(self, member: Any) -> keras.Model:
        """What a member is traced with; a tensor will do if all share one."""
        return self.networks[member if len(self.networks) > 1 else 0]

    def values(self, member: int) -> list[Any]:
        """NumPy values of one member's variables, as `network.variables`."""
        return [np.array(stack[member]) for stack in self._all]

    def assign(self, member: int, values: Sequence[Any]) -> None:
        """Replaces one member's variables, in that order."""
        for stack, value in zip(self._all, values, strict=True):
            stack.value.scatter_nd_update([[member]], [value])

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
        variables = _split(network)
        mapping = [
            *zip(variables.trainable, state.trainable, strict=True),
            *zip(variables.other, state.other, strict=True),
        ]
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            result = function(network)
        after = [
            old if new is None else tf.convert_to_tensor(new)
            for old, new in zip(
                state.other,
                map(scope.get_current_value, variables.other),
                strict=True,
            )
        ]
        return result, after


def _split(network: keras.Model) -> Any:
    trained = {id(v) for v in network.trainable_variables}
    other = [v for v in network.variables if id(v) not in trained]
    return MemberState(network.trainable_variables, other)


class _PerMember(keras.constraints.Constraint):
    """A constraint of each member's part of a stack."""

    def __init__(self, constraint: Any):
        self._constraint = constraint

    def __call__(self, w: Any) -> Any:
        return tf.stack([self._constraint(part) for part in tf.unstack(w)])


def _add_stack(
    owner: keras.Model,
    variable: keras.Variable,
    values: list[Any],
    trainable: bool,
) -> keras.Variable:
    def initial(shape: Any, dtype: Any) -> Tensor:
        return tf.cast(tf.reshape(np.stack(values), shape), dtype)

    # Keras takes no slashes in names.
    stack = owner.add_weight(
        name=variable.path.replace("/", "."),
        shape=(len(values), *variable.shape),
        dtype=variable.dtype,
        initializer=initial,
        trainable=trainable,
        autocast=False,
        constraint=variable.constraint and _PerMember(variable.constraint),
    )
    if getattr(variable, "is_managed", False):
        stack.is_managed = True
    return stack
