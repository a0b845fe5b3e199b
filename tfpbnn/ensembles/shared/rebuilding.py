"""Does the calls of a model again, on other tensors and with other layers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from tfpbnn.convert import graph
from tfpbnn.layers import SplitMembers
from tfpbnn.particles.graph import Call, Graph
from tfpbnn.types import Config

# Layers whose channels are the members' in packed and MIMO networks.
_KERNEL_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)

# Given a call, and its arguments and keyword arguments in the new model.
Visit = Callable[[Call, Any, Any], Any]


def is_kernel(op: Any) -> bool:
    """Whether it is a dense layer or convolution of Keras's own."""
    return type(op) in _KERNEL_LAYERS


class Copies:
    """New layers for a model's, each one once.

    Attributes:
        pairs: (layer of the model, the one in its place).
    """

    def __init__(self, make: Callable[[Any], Any] = graph.copy_layer):
        self._make = make
        self._found: dict[int, Any] = {}
        self._names: set[str] = set()
        self.pairs: list[tuple[Any, Any]] = []

    def __call__(self, op: Any) -> Any:
        """What to call in place of a layer; operations are themselves."""
        if not isinstance(op, keras.Operation):
            return _same  # the way into or out of a model in the model
        if not isinstance(op, keras.layers.Layer):
            return op
        if id(op) not in self._found:
            self._found[id(op)] = new = self._make(op)
            # Models that are laid open may have layers of the same name.
            while new.name in self._names:
                new.name = f"{op.name}_{len(self._names)}"
            self._names.add(new.name)
            self.pairs.append((op, new))
        return self._found[id(op)]

    def copy_weights(self, but: Iterable[int] = ()) -> None:
        """Gives the layers the weights of the model's.

        Args:
            but: the ids of layers of the model whose weights are not wanted.
        """
        for old, new in self.pairs:
            if id(old) not in but:
                new.set_weights(old.get_weights())


def rebuild(
    model: keras.Model,
    cls: Any,
    visit: Visit,
    enter: Callable[[Any], Any] = lambda x: x,
    splits: "Splits | None" = None,
) -> Any:
    """A model of class `cls` that does a model's calls in its own way.

    Models in the model are laid open. A compiled model's is compiled likewise.

    Args:
        model: a built Functional or Sequential model.
        cls: to be made of inputs and outputs.
        visit: given a call of the model, and its arguments in the new one,
            gives its outputs there.
        enter: what to do with the inputs first.
        splits: those that all outputs are to have gone through.

    Raises:
        ValueError: if an output has not.
    """
    read = Graph(model)
    is_sequential = isinstance(model, keras.Sequential)
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
        model.inputs[0] if is_sequential else model.input,
    )
    entered = map(enter, keras.tree.flatten(inputs))
    tensors = dict(zip(map(id, read._inputs), entered, strict=True))

    def get(leaf: Any) -> Any:
        is_tensor = isinstance(leaf, keras.KerasTensor)
        return tensors[id(leaf)] if is_tensor else leaf

    for call in read.calls:
        arguments = keras.tree.map_structure(get, (call.args, call.kwargs))
        found = keras.tree.flatten(visit(call, *arguments))
        for key, tensor in zip(call.outputs, found, strict=True):
            tensors[id(key)] = tensor
    if splits is not None:
        splits.check(read.outputs)
    outputs = keras.tree.map_structure(get, read.outputs)
    new = cls(inputs, outputs, name=model.name)
    graph.copy_compiled(model, new)
    return new


class Splits:
    """Where features of members become rows of them, in one `rebuild`.

    That is right behind the last layers with kernels, so that what follows,
    such as a softmax, sees the outputs of one member at a time.
    """

    def __init__(self, model: keras.Model, num_members: int):
        self.last = last_kernels(model)
        self._num_members = num_members
        self._in_rows: set[int] = set()
        self._tails: dict[int, list[Any]] = {}

    def are_rows(self, call: Call) -> bool:
        """Whether a call's inputs are rows of members already."""
        found = {id(x) in self._in_rows for x in call.inputs}
        if found == {True, False}:
            raise ValueError(
                f"{name_of(call)} of `model` takes outputs of the last layers "
                "with kernels together with other tensors, which can't be told "
                "apart by members."
            )
        if found == {True}:
            self._in_rows.update(id(y) for y in call.outputs)
        return found == {True}

    def split(self, call: Call, y: Any, *order: Any) -> Any:
        """The outputs of a last layer as rows, and its activation.

        The last of them has the layer's name, which losses may go by.
        """
        self._in_rows.update(id(y) for y in call.outputs)
        layer = call.op
        if id(layer) not in self._tails:
            self._tails[id(layer)] = list(self._tail(layer))
        split, *activation = self._tails[id(layer)]
        y = split(y, *order)
        return activation[0](y) if activation else y

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

    def check(self, outputs: Any) -> None:
        """Raises unless the model's outputs are rows."""
        flat = keras.tree.flatten(outputs)
        names = [y.name for y in flat if id(y) not in self._in_rows]
        if names:
            raise ValueError(
                "`model` must have outputs that come from dense layers or "
                f"convolutions. Received: {names} that don't"
            )


def name_of(call: Call) -> str:
    """What is called, for error messages."""
    name = getattr(call.op, "name", "an operation")
    return f"The layer {name!r} ({type(call.op).__name__})"


def last_config(layer: Any) -> Config:
    """Of a last layer's copy: `Splits.split` has its activation and name."""
    name = f"{layer.name}_members"
    return layer.get_config() | {"activation": None, "name": name}


def last_kernels(model: keras.Model) -> set[int]:
    """The layers with kernels from which no other such layer is reached.

    Raises:
        ValueError: if such a layer is used elsewhere too.
    """
    reaching: set[int] = set()
    found: dict[int, set[bool]] = {}
    for call in reversed(Graph(model).calls):
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


def _same(x: Any, dtype: str) -> Any:
    return x if x.dtype == dtype else keras.ops.cast(x, dtype)
