"""Models made anew from the calls of others, with other layers."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from tfpbnn.networks import copying, reading
from tfpbnn.networks.calls import Call, Graph, same
from tfpbnn.networks.copying import copy_layer
from tfpbnn.networks.reading import is_graph, leaves


class Copy:
    """A copy of a model's graph with replaced layers.

    Attributes:
        pairs: (layer of the model, what replaces it), each one once.
        model: the copy.
    """

    def __init__(
        self,
        model: keras.Model,
        replace: Callable[[keras.layers.Layer], keras.layers.Layer],
        touched: Callable[[keras.layers.Layer], bool],
        sequential: type[keras.Model] = keras.Sequential,
        functional: Any = keras.Model,
    ):
        """Makes the copy.

        Args:
            model: a built Functional or Sequential model.
            replace: gives the new layer for a layer.
            touched: whether a layer is replaced by one of another kind.
            sequential: the class of the result for a Sequential.
            functional: that for other models. Inner models are plain Keras's.
        """
        self._replace = replace
        self._touched = touched
        self._copies: dict[int, keras.layers.Layer] = {}
        self._rebuilt: list[tuple[keras.Model, keras.Model]] = []
        self.pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self.model = self._rebuild(model, sequential, functional)
        self._copy_frozen()

    def _visit(self, layer: Any) -> Any:
        if not isinstance(
            layer, keras.layers.Layer
        ):  # an operation of keras.ops
            return layer
        if id(layer) not in self._copies:
            if is_graph(layer) and self._must_rebuild(layer):
                new = self._rebuild(layer, keras.Sequential, keras.Model)
            else:
                new = self._replace(layer)
                self.pairs.append((layer, new))
            self._copies[id(layer)] = new
        return self._copies[id(layer)]

    def _must_rebuild(self, model: keras.Model) -> bool:
        """A model of a class of its own stays one, if nothing in it changes."""
        return reading.is_plain(model) or any(map(self._touched, leaves(model)))

    def _rebuild(
        self, model: keras.Model, sequential: Any, functional: Any
    ) -> keras.Model:
        if isinstance(model, keras.Sequential):
            (x,) = model.inputs
            inputs = keras.Input(
                batch_shape=x.shape, dtype=x.dtype, name=x.name
            )
            layers = map(self._visit, model.layers)
            new = sequential([inputs, *layers], name=model.name)
        else:
            # A twin without a loss: Keras would copy that too, or try to.
            twin = keras.Model(model.input, model.output)
            twin = keras.models.clone_model(
                twin, _inputs(model), clone_function=self._visit
            )
            new = functional(twin.input, twin.output, name=model.name)
        self._rebuilt.append((model, new))
        return new

    def _copy_frozen(self) -> None:
        """Setting `trainable` of a model sets that of its layers."""
        frozen = [new for old, new in self._rebuilt if not old.trainable]
        for new in reversed(frozen):
            new.trainable = False
        for old, new in self.pairs if frozen else ():
            if new.trainable != old.trainable:
                new.trainable = old.trainable


def _inputs(model: keras.Model) -> Any:
    """Inputs of the same names, types and structure for another graph."""
    copies = {
        id(layer.output): copy_layer(layer).output
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(lambda x: copies[id(x)], model.input)


# Given a call, and its arguments and keyword arguments in the new model.
Visit = Callable[[Call, Any, Any], Any]


class Copies:
    """New layers for a model's, each one once.

    Attributes:
        pairs: (layer of the model, the one in its place).
    """

    def __init__(self, make: Callable[[Any], Any] = copying.copy_layer):
        self._make = make
        self._found: dict[int, Any] = {}
        self._names: set[str] = set()
        self.pairs: list[tuple[Any, Any]] = []

    def __call__(self, op: Any) -> Any:
        """What to call in place of a layer; operations are themselves."""
        if not isinstance(op, keras.Operation):
            return same  # the way into or out of a model in the model
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
    splits: Any = None,
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
    tensors = dict(zip(map(id, read.inputs), entered, strict=True))

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
    copying.copy_compiled(model, new)
    return new


def name_of(call: Call) -> str:
    """What is called, for error messages."""
    name = getattr(call.op, "name", "an operation")
    return f"The layer {name!r} ({type(call.op).__name__})"
