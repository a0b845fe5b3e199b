"""Finds where the features of members become rows of them."""

from collections.abc import Iterator
from typing import Any

import keras

from tfpbnn.base.types import Config
from tfpbnn.layers import SplitMembers
from tfpbnn.networks.calls import Call, Graph
from tfpbnn.networks.rewriting import name_of

# Layers whose channels are the members' in packed and MIMO networks.
_KERNEL_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)


def is_kernel(op: Any) -> bool:
    """Says whether it is a dense layer or convolution of Keras's own."""
    return type(op) in _KERNEL_LAYERS


class Splits:
    """The places where features of members become rows, in one `rewrite`.

    These are right behind the last layers with kernels, so that what follows,
    such as a softmax, sees the outputs of one member at a time.

    Attributes:
        last: the ids of these layers.
    """

    def __init__(self, graph: Graph, num_members: int):
        """Finds the places in a graph.

        Raises:
            ValueError: if outputs of the last layers are taken together with
                other tensors, or an output of the model is not behind them.
        """
        self.last = last_kernels(graph)
        self._num_members = num_members
        self._rows: set[int] = set()  # tensors
        self._tails: dict[int, list[Any]] = {}
        for call in graph.calls:
            if id(call.op) in self.last or self.are_rows(call):
                self._rows.update(id(y) for y in call.outputs)
        outputs = keras.tree.flatten(graph.outputs)
        names = [y.name for y in outputs if id(y) not in self._rows]
        if names:
            raise ValueError(
                "`model` must have outputs that come from dense layers or "
                f"convolutions. Received: {names} that don't"
            )

    def are_rows(self, call: Call) -> bool:
        """Says whether a call's inputs are rows of members already."""
        found = {id(x) in self._rows for x in call.inputs}
        if found == {True, False}:
            raise ValueError(
                f"{name_of(call)} of `model` takes outputs of the last layers "
                "with kernels together with other tensors, which can't be told "
                "apart by members."
            )
        return found == {True}

    def after(self, layer: Any, *order: Any) -> list[Any]:
        """Gives what comes after a last layer: a split, and its activation.

        The last of them has the layer's name, which losses may go by.
        """
        if id(layer) not in self._tails:
            self._tails[id(layer)] = list(self._tail(layer))
        split, *activation = self._tails[id(layer)]
        return [lambda y: split(y, *order), *activation]

    def _tail(self, layer: Any) -> Iterator[keras.layers.Layer]:
        policy, name = layer.dtype_policy, layer.name
        is_linear = layer.activation is keras.activations.linear
        yield SplitMembers(
            self._num_members,
            name=name if is_linear else f"{name}_split",
            dtype=policy,
        )
        if not is_linear:
            yield keras.layers.Activation(
                layer.activation, name=name, dtype=policy
            )


def last_config(layer: Any) -> Config:
    """Gives the config of a last layer's copy.

    Its activation and name are those of what comes after it.
    """
    name = f"{layer.name}_members"
    return layer.get_config() | {"activation": None, "name": name}


def last_kernels(graph: Graph) -> set[int]:
    """Finds the layers with kernels from which no other one is reached.

    Raises:
        ValueError: if such a layer is used elsewhere too.
    """
    reaching: set[int] = set()
    found: dict[int, set[bool]] = {}
    for call in reversed(graph.calls):
        has_kernel = is_kernel(call.op)
        leads_on = any(id(y) in reaching for y in call.outputs)
        if has_kernel:
            found.setdefault(id(call.op), set()).add(not leads_on)
        if has_kernel and found[id(call.op)] == {True, False}:
            raise ValueError(
                f"The layer {call.op.name!r} of `model` gives outputs of the "
                "model and is used inside of it too: members' outputs can't "
                "be told from their features. Make two layers of it."
            )
        if has_kernel or leads_on:
            reaching.update(id(x) for x in call.inputs)
    return {op for op, is_last in found.items() if is_last == {True}}
