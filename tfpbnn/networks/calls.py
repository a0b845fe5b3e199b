"""Reads a Keras model as a list of calls."""

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
    is_own,
    parts_of,
    same_structure,
    template_of,
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
        mode: the argument `training`, if the model's code gives it.
        may_be_masked: whether an input may have a mask of Keras's, also one
            that comes out of a model in the model.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[keras.KerasTensor]
    mode: Mapping[str, Any] = MappingProxyType({})
    may_be_masked: bool = False

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        return _keras_tensors((self.args, self.kwargs))

    @property
    def is_alias(self) -> bool:
        """Whether the call only leads into or out of a model in the model."""
        return self.op is same

    def do(self, get: Callable[[Any], Any], tensors: Tensors) -> None:
        """Calls the layer, and adds its outputs to the tensors."""
        args, kwargs = self.arguments(get)
        self.put(callee(self.op)(*args, **kwargs), tensors)

    def arguments(self, get: Callable[[Any], Any]) -> Any:
        """Returns the positional and keyword arguments with tensors in them.

        Args:
            get: a function that returns the tensor for a KerasTensor, and any
                other object as it is.
        """
        return keras.tree.map_structure(get, (self.args, self.kwargs))

    def put(self, outputs: Any, tensors: Tensors) -> None:
        """Adds tensors like the outputs to the tensors."""
        found = keras.tree.flatten(outputs)
        for key, tensor in zip(self.outputs, found, strict=True):
            tensors[id(key)] = tensor


class Graph:
    """The calls of a Functional or Sequential model, in order.

    Attributes:
        calls: the calls, each one after those that it takes outputs of.
        inputs: the flat list of KerasTensors that the calls begin with.
        outputs: the KerasTensors of the model's outputs, in their structure.
        masked: for each tensor of the outputs whether it may have a mask of
            Keras's.
    """

    def __init__(self, model: keras.Model, opened: bool = True):
        """Reads the model.

        Args:
            model: a built model.
            opened: whether the calls of models in the model are among the
                calls, in place of those of the models.

        Raises:
            ValueError: if the calls can't be known, such as those of a
                subclassed model; see `can_read`.
        """
        self.calls: list[Call] = []
        self._opened = opened
        # As the model itself, it takes its inputs in other structures too.
        self._entry = keras.Model(input_of(model), list(model.inputs))
        inputs = keras.tree.map_structure(input_like, input_of(model))
        self.inputs = keras.tree.flatten(inputs)
        self.outputs = self._walk(model, inputs)
        is_masked = _mark_masked(self.calls)
        self.masked = list(map(is_masked, keras.tree.flatten(self.outputs)))

    def enter(self, x: Any) -> Tensors:
        """Returns the tensors to begin with, for inputs of the model."""
        entered = keras.tree.flatten(self._entry(x))
        pairs = zip(self.inputs, entered, strict=True)
        return {id(key): tensor for key, tensor in pairs}

    def unknown_size(self, x: Any) -> int:
        """Computes the number of elements of x along axes of unknown size.

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
        """Says whether only one call uses a layer, or a layer that holds it."""
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


def _mark_masked(calls: list[Call]) -> Callable[[Any], bool]:
    """Marks each call with whether its inputs may have masks.

    Keras's symbolic tensors have masks within one model. What comes out of a
    model in the model has one as a tensor, and none as a symbol.

    Returns:
        Whether a KerasTensor of the calls may have a mask.
    """
    hidden: set[int] = set()

    def masked(x: Any) -> bool:
        return id(x) in hidden or mask_of(x) is not None

    for index, call in enumerate(calls):
        has_mask = any(map(masked, call.inputs))
        if (has_mask and _hands_on(call)) or _may_mask(call.op):
            hidden.update(map(id, call.outputs))
        calls[index] = call._replace(may_be_masked=has_mask)
    return masked


def _hands_on(call: Call) -> bool:
    """Whether masks of a call's inputs may be those of its outputs.

    Keras says that its models, and layers which don't support masks, drop them.
    But a layer in them hands its mask on, as does code that returns its input.
    """
    if call.is_alias or getattr(call.op, "supports_masking", False):
        return True
    rank = min(len(x.shape) for x in call.inputs)
    is_of_places = any(len(y.shape) >= rank for y in call.outputs)
    is_layer = isinstance(call.op, keras.layers.Layer)
    return is_layer and not is_own(call.op) and is_of_places


def may_be_masked(model: Any, outputs: Any) -> Any:
    """Says of each output of a model whether it may have a mask of Keras's.

    Args:
        model: any model.
        outputs: its symbolic outputs. They have the masks that Keras knows
            before it runs.

    Returns:
        booleans, in the structure of the outputs.
    """
    network = template_of(model)
    if all(map(is_own, getattr(network, "layers", [network]))):
        found = [mask_of(y) is not None for y in keras.tree.flatten(outputs)]
    elif can_read(network):
        found = Graph(network).masked
    else:
        found = [_may_mask(network)] * len(keras.tree.flatten(outputs))
    return keras.tree.pack_sequence_as(outputs, found)


def _may_mask(op: Any) -> bool:
    """Whether code that isn't read here holds a layer with masks of its own.

    The masks of wrappers are those of the layers in them.
    """
    plain = keras.layers.Layer.compute_mask
    return not is_own(op) and any(
        type(part).compute_mask is not plain
        for part in parts_of(op)[1:]
        if not (isinstance(part, keras.Model) or hasattr(part, "layer"))
    )


def same(x: Any, dtype: str) -> Any:
    """Passes a tensor into or out of a model in the model."""
    if x.dtype == dtype:
        return x
    return with_mask(keras.ops.cast(x, dtype), mask_of(x))


def _can_open(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Says whether a call is of a model in the model, with only its inputs."""
    # Keras gives models a mask, mostly of None.
    has_more = bool(_keras_tensors(kwargs)) or not set(kwargs) <= {"mask"}
    if has_more or not can_read(op) or not same_structure(input_of(op), *args):
        return False
    pairs = zip(_keras_tensors(args), op.inputs, strict=True)
    return all(len(x.shape) == len(own.shape) for x, own in pairs)


def _keras_tensors(structure: Any) -> list[keras.KerasTensor]:
    leaves: Iterable[Any] = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]
