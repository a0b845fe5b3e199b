"""Copies of models with other layers in them, by public Keras only."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tfpbnn import models
from tfpbnn.cloning import compile_like
from tfpbnn.convert import mapping

# Other classes of models can't be made from inputs and outputs.
_PLAIN = (
    keras.Sequential,
    models._Functional,
    models.Sequential,
    models.FunctionalModel,
)


def check(model: Any) -> None:
    """Raises unless `model` is Functional or Sequential, and built."""
    if not is_graph(model):
        raise TypeError(
            "`model` must be a Functional or Sequential Keras model: of a "
            "subclassed one Keras doesn't know the layers' graph. Make it of "
            "inputs and outputs, or write other layers into its code (such as "
            "tfpbnn.layers.DenseFlipout for Dense). Received: "
            f"model={model!r} of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built: it has no weights yet. Give it a "
            "`keras.Input`, or call it on some data. Received: "
            f"model={model!r}"
        )


def is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose layers and graph Keras knows."""
    return isinstance(layer, keras.Sequential | models._Functional)


def leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models in it, each one once."""
    seen: set[int] = set()
    for layer in model.layers:
        inner = leaves(layer) if is_graph(layer) else [layer]
        for leaf in inner:
            if id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf


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
        return type(model) in _PLAIN or any(map(self._touched, leaves(model)))

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


def copy_compiled(model: keras.Model, new: keras.Model) -> None:
    """Compiles a copy as the model is, if it is and can be."""
    if not model.compiled:
        return
    try:
        compile_like(new, model)
    except (TypeError, ValueError) as error:
        warnings.warn(
            "The optimizer, loss or metrics of `model` can't be copied by "
            f"their configs: compile the result. ({error})",
            stacklevel=3,
        )


def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy without the weights.

    Raises:
        ValueError: if its config doesn't make it; names the layer.
    """
    cls = type(layer)
    try:
        return cls.from_config(layer.get_config())
    except Exception as error:
        reason = error
    if not layer.weights:  # as a Lambda: nothing that a copy would own
        return layer
    try:  # some configs say more than their constructor takes
        return cls.from_config(mapping.arguments(layer.get_config(), cls))
    except Exception:
        raise ValueError(
            f"The layer {layer.name!r} of `model`, of type {cls.__name__}, "
            f"can't be copied by its `get_config` and `from_config`: {reason}"
        ) from reason
