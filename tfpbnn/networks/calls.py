"""A Keras model as a list of calls."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from tfpbnn.base import forms
from tfpbnn.base.keras_private import mask_of, with_mask
from tfpbnn.base.types import Tensor
from tfpbnn.networks.reading import (
    can_read,
    input_like,
    input_of,
    same_structure,
)
from tfpbnn.networks.stand_ins import callee

# By the ids of KerasTensors.
Tensors = dict[int, Tensor]


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops`, in a model.

    Attributes:
        op: the layer or operation that is called.
        args: its arguments, with KerasTensors in place of tensors.
        kwargs: its keyword arguments, in the same way, but for `training`.
        outputs: its outputs as a flat list of KerasTensors.
        mode: the argument `training`, where the model's code says it.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[keras.KerasTensor]
    mode: Mapping[str, Any] = MappingProxyType({})

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        return _keras_tensors((self.args, self.kwargs))

    @property
    def is_alias(self) -> bool:
        """Whether it only leads into or out of a model in the model."""
        return self.op is same

    def do(self, get: Callable[[Any], Any], tensors: Tensors) -> None:
        """Calls the layer, and puts its outputs among the tensors."""
        args, kwargs = self.arguments(get)
        self.put(callee(self.op)(*args, **kwargs), tensors)

    def arguments(self, get: Callable[[Any], Any]) -> Any:
        """The positional and keyword arguments with tensors in them.

        Args:
            get: gives the tensor for a KerasTensor, and other objects back.
        """
        return keras.tree.map_structure(get, (self.args, self.kwargs))

    def put(self, outputs: Any, tensors: Tensors) -> None:
        """Puts tensors like the outputs among the tensors."""
        found = keras.tree.flatten(outputs)
        for key, tensor in zip(self.outputs, found, strict=True):
            tensors[id(key)] = tensor


class Graph:
    """The calls of a Functional or Sequential model, in order.

    Attributes:
        calls: the calls, each one after those that it takes outputs of.
        inputs: the flat list of KerasTensors that the calls begin with.
        outputs: the KerasTensors of the model's outputs, in their structure.
    """

    def __init__(self, model: keras.Model, opened: bool = True):
        """Reads the model.

        Args:
            model: a built model.
            opened: whether the calls of models in the model are among the
                calls, in place of those of the models.

        Raises:
            ValueError: if its calls can't be known, as those of a subclassed
                model; see `can_read`.
        """
        self.calls: list[Call] = []
        self._opened = opened
        # As the model itself, it takes its inputs in other structures too.
        self._entry = keras.Model(input_of(model), list(model.inputs))
        inputs = keras.tree.map_structure(input_like, input_of(model))
        self.inputs = keras.tree.flatten(inputs)
        self.outputs = self._walk(model, inputs)

    def enter(self, x: Any) -> Tensors:
        """The tensors to begin with, of inputs as the model takes them."""
        entered = keras.tree.flatten(self._entry(x))
        pairs = zip(self.inputs, entered, strict=True)
        return {id(key): tensor for key, tensor in pairs}

    def unknown_size(self, x: Any) -> int:
        """The number of elements of x along axes of unknown size.

        These are the axes of time and of images, for example.
        """
        return max(
            math.prod(
                found
                for found, known in zip(
                    forms.sizes(leaf), key.shape[1:], strict=False
                )
                if known is None
            )
            for leaf, key in zip(
                keras.tree.flatten(x), self.inputs, strict=False
            )
            if leaf is not None
        )

    def is_used_once(self, op: Any) -> bool:
        """Whether one call uses a layer, or a layer that holds it."""
        own = {id(variable) for variable in op.variables}
        held = (getattr(call.op, "variables", ()) for call in self.calls)
        return sum(any(id(v) in own for v in found) for found in held) == 1

    def _walk(self, model: keras.Model, inputs: Any) -> Any:
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                inputs = self._call(layer, inputs)
            return inputs
        # Only for Keras's walk over the graph: the layers stay the model's. The
        # clone of a compiled model would be compiled too, if that is possible.
        bare = keras.Model(model.input, model.output, name=model.name)
        return keras.models.clone_model(
            bare,
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=self._call,
        ).output

    def _call(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = op(*args, **kwargs)
        flat = keras.tree.flatten(outputs)
        # Layers take it from `within`, as they do from a model's call.
        mode = {k: kwargs.pop(k) for k in ("training",) if k in kwargs}
        if self._opened and _can_open(op, args, kwargs):
            inner = keras.tree.map_structure(input_like, input_of(op))
            self._alias(
                _keras_tensors((args, kwargs)), keras.tree.flatten(inner)
            )
            # The walk around this one needs tensors of its own graph.
            self._alias(keras.tree.flatten(self._walk(op, inner)), flat)
            return outputs
        self.calls.append(Call(op, args, kwargs, flat, mode))
        return outputs

    def _alias(self, sources: list[Any], targets: list[Any]) -> None:
        for source, target in zip(sources, targets, strict=True):
            self.calls.append(Call(same, (source, target.dtype), {}, [target]))


def same(x: Any, dtype: str) -> Any:
    """A tensor on its way into or out of a model in the model."""
    if x.dtype == dtype:
        return x
    return with_mask(keras.ops.cast(x, dtype), mask_of(x))


def _can_open(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is of a model in the model, and of its inputs alone."""
    # Keras gives models a mask, mostly of None.
    has_more = bool(_keras_tensors(kwargs)) or not set(kwargs) <= {"mask"}
    if has_more or not can_read(op) or not same_structure(input_of(op), *args):
        return False
    pairs = zip(_keras_tensors(args), op.inputs, strict=True)
    return all(len(x.shape) == len(own.shape) for x, own in pairs)


def _keras_tensors(structure: Any) -> list[keras.KerasTensor]:
    leaves: Iterable[Any] = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]
