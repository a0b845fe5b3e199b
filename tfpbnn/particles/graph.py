"""A model as a list of calls, split where its randomness begins."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.layers.base import VariationalLayer
from tfpbnn.layers.noise_state import NoiseState
from tfpbnn.layers.within import within
from tfpbnn.types import Tensor

# `keras.Model(inputs, outputs)` is of this class, which has no public name.
_Functional: Any = type(keras.Model.__new__(keras.Model, None, None))
# Of Keras's own layers these may hold code of the user's.
_HOLDERS = (keras.layers.Lambda, keras.Model)
Tensors = dict[int, Tensor]


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops`, in a model.

    Attributes:
        op: what is called.
        args: with KerasTensors in place of tensors.
        kwargs: likewise.
        outputs: KerasTensors, flat.
        is_touched: whether the outputs differ between draws.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[keras.KerasTensor]
    is_touched: bool

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        return _keras_tensors((self.args, self.kwargs))

    @property
    def is_random(self) -> bool:
        return is_random(self.op)

    @property
    def is_alias(self) -> bool:
        """Whether it only leads into or out of a model in the model."""
        return self.op is _same

    def weights_per_row(self, unknown: int) -> int:
        """How many products of a weight a row takes.

        Args:
            unknown: what axes of unknown size have, in all.
        """
        if not isinstance(self.op, keras.layers.Layer):
            return 0
        positions = size(self.outputs[0].shape[1:-1], unknown)
        weights = (
            [posterior.loc for posterior in self.op.posteriors]
            if isinstance(self.op, VariationalLayer)
            else self.op.trainable_variables
        )
        kernels = (v for v in weights if len(v.shape) > 1)
        return positions * sum(math.prod(v.shape) for v in kernels)

    def do(self, get: Callable[[Any], Any], tensors: Tensors) -> None:
        """Calls the layer, and puts its outputs among the tensors."""
        args = keras.tree.map_structure(get, self.args)
        kwargs = keras.tree.map_structure(get, self.kwargs)
        found = keras.tree.flatten(self.op(*args, **kwargs))
        for key, tensor in zip(self.outputs, found, strict=True):
            tensors[id(key)] = tensor


class Graph:
    """The calls of a Functional or Sequential model, in order.

    Nested models are laid open. `before` does the calls that are the same for
    all draws, `after` the rest.

    Attributes:
        calls: all of them.
        outputs: KerasTensors, in the structure of the model's outputs.
    """

    def __init__(self, model: keras.Model):
        """Reads the model.

        Raises:
            ValueError: if its calls can't be known, as those of a subclassed
                model; see `can_read`.
        """
        self.calls: list[Call] = []
        self._touched: set[int] = set()
        # As the model itself, it takes its inputs in other structures too.
        self._entry = keras.Model(_input_of(model), list(model.inputs))
        inputs = keras.tree.map_structure(_input_like, _input_of(model))
        self._inputs = keras.tree.flatten(inputs)
        self.outputs = self._walk(model, inputs)

    @property
    def touched_calls(self) -> list[Call]:
        """The calls that differ between draws."""
        return [call for call in self.calls if call.is_touched]

    @property
    def random_calls(self) -> list[Call]:
        """The calls of random layers."""
        return [call for call in self.calls if call.is_random]

    def unknown_size(self, x: Any) -> int:
        """What axes of unknown size (of time, of images) have in x, in all."""
        return max(
            math.prod(
                found
                for found, known in zip(
                    leaf.shape[1:], key.shape[1:], strict=False
                )
                if known is None
            )
            for leaf, key in zip(
                keras.tree.flatten(x), self._inputs, strict=False
            )
        )

    def is_touched(self, tensor: keras.KerasTensor) -> bool:
        return id(tensor) in self._touched

    def has_touched_inputs(self, call: Call) -> bool:
        return any(map(self.is_touched, call.inputs))

    def is_used_once(self, op: Any) -> bool:
        """Whether one call uses a layer, or a layer that holds it."""
        own = {id(variable) for variable in op.variables}
        held = (getattr(call.op, "variables", ()) for call in self.calls)
        return sum(any(id(v) in own for v in found) for found in held) == 1

    def before(self, x: Any) -> Tensors:
        """Does what is the same for all draws, of one batch."""
        entered = keras.tree.flatten(self._entry(x))
        tensors: Tensors = {
            id(key): tensor
            for key, tensor in zip(self._inputs, entered, strict=True)
        }

        def get(leaf: Any) -> Any:
            is_tensor = isinstance(leaf, keras.KerasTensor)
            return tensors[id(leaf)] if is_tensor else leaf

        def run() -> None:
            for call in self.calls:
                if not call.is_touched:
                    call.do(get, tensors)

        within(function=run, training=False)
        return tensors

    def after(self, tensors: Tensors, scope: random.DrawScope) -> Any:
        """Does the rest in a scope; gives the model's outputs.

        In a stacked scope they are `[S * B, ...]`, or `[B * S, ...]` by row.
        """
        tensors, repeated = dict(tensors), {}

        def get_shared(leaf: Any) -> Any:
            is_tensor = isinstance(leaf, keras.KerasTensor)
            return tensors[id(leaf)] if is_tensor else leaf

        def get(leaf: Any) -> Any:
            if not isinstance(leaf, keras.KerasTensor):
                return leaf
            if not scope.is_stacked or self.is_touched(leaf):
                return tensors[id(leaf)]
            if id(leaf) not in repeated:
                repeated[id(leaf)] = _repeat(tensors[id(leaf)], scope)
            return repeated[id(leaf)]

        def run() -> None:
            for call in self.touched_calls:
                scope.is_shared = (
                    scope.is_stacked
                    and call.is_random
                    and not self.has_touched_inputs(call)
                )
                call.do(get_shared if scope.is_shared else get, tensors)

        within(function=run, training=False)
        return keras.tree.map_structure(get, self.outputs)

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
        # Layers take it from `within`, as they do from a model's call.
        kwargs.pop("training", None)
        outputs = op(*args, **kwargs)
        inputs = _keras_tensors((args, kwargs))
        flat = keras.tree.flatten(outputs)
        if _can_open(op, args, kwargs):
            inner = keras.tree.map_structure(_input_like, _input_of(op))
            self._alias(inputs, keras.tree.flatten(inner))
            # The walk around this one needs tensors of its own graph.
            self._alias(keras.tree.flatten(self._walk(op, inner)), flat)
            return outputs
        touched = is_random(op) or any(map(self.is_touched, inputs))
        self._add(Call(op, args, kwargs, flat, touched))
        return outputs

    def _alias(self, sources: list[Any], targets: list[Any]) -> None:
        for source, target in zip(sources, targets, strict=True):
            args, touched = (source, target.dtype), self.is_touched(source)
            self._add(Call(_same, args, {}, [target], touched))

    def _add(self, call: Call) -> None:
        self.calls.append(call)
        if call.is_touched:
            self._touched.update(id(tensor) for tensor in call.outputs)


def _input_like(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name)


def _can_open(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is of a model in the model, and of its inputs alone."""
    # Keras gives models a mask, mostly of None.
    has_more = bool(_keras_tensors(kwargs)) or not set(kwargs) <= {"mask"}
    if (
        has_more
        or not can_read(op)
        or not _same_structure(_input_of(op), *args)
    ):
        return False
    pairs = zip(_keras_tensors(args), op.inputs, strict=True)
    return all(len(x.shape) == len(own.shape) for x, own in pairs)


def _input_of(model: Any) -> Any:
    """A model's inputs in its own structure."""
    is_one = isinstance(model, keras.Sequential)
    return model.inputs[0] if is_one else model.input


def can_read(model: Any) -> bool:
    """Whether the calls of a model can be known: not if it is subclassed."""
    if isinstance(model, keras.Sequential):
        plain = type(model).call is keras.Sequential.call
        return plain and bool(getattr(model, "inputs", None))
    return (
        isinstance(model, _Functional) and type(model).call is _Functional.call
    )


def open_spec(model: Any, x: Any) -> Any:
    """The specs of inputs like x, with any number of rows.

    And with any size where a readable model takes any, for sequences and images
    that differ from call to call.
    """

    def spec(leaf: Any, key: Any) -> tf.TensorSpec:
        sizes = [
            None if known is None else found
            for found, known in zip(leaf.shape, key.shape, strict=True)
        ]
        return tf.TensorSpec([None, *sizes[1:]], leaf.dtype)

    like = x
    if can_read(model) and _same_structure(_input_of(model), x):
        like = _input_of(model)
        pairs = zip(
            keras.tree.flatten(x), keras.tree.flatten(like), strict=True
        )
        if any(len(leaf.shape) != len(key.shape) for leaf, key in pairs):
            like = x
    return keras.tree.map_structure(spec, x, like)


def layers_of(model: Any) -> list[Any]:
    """The layers of a model, and of the models in it."""
    found: list[Any] = []
    for layer in getattr(model, "layers", []):
        found += [layer, *layers_of(layer)]
    return found


def size(shape: Iterable[int | None], unknown: int) -> int:
    """The number of elements, if axes of unknown size have so many in all."""
    sizes = list(shape)
    known = math.prod(n for n in sizes if n is not None)
    return known * (unknown if None in sizes else 1)


def is_random(op: Any) -> bool:
    """Whether a layer's outputs differ between draws of one input.

    Keras's own layers don't, in inference; of a user's layer with a seed of
    its own it can't be known.
    """
    if isinstance(op, VariationalLayer) and op.has_output_noise:
        return any(posterior.is_random for posterior in op.posteriors)
    if isinstance(op, NoiseState):
        return True
    if not isinstance(op, keras.layers.Layer):
        return False
    if any(hasattr(v, "is_noise") for v in op.variables):
        return True
    if is_own(op):
        return False
    weights = {id(v) for v in op.weights}
    return any(id(v) not in weights for v in op.variables)


def is_own(op: Any) -> bool:
    """Whether all that an operation does is Keras's, or this package's."""
    ours = type(op).__module__.split(".")[0] in ("keras", "tfpbnn")
    return (
        ours and not isinstance(op, _HOLDERS) and all(map(is_own, _held_by(op)))
    )


def _held_by(layer: Any) -> list[Any]:
    """The layers in a layer of Keras's that takes some."""
    if isinstance(layer, keras.layers.RNN):
        return [layer.cell]
    if isinstance(layer, keras.layers.StackedRNNCells):
        return list(layer.cells)
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return [layer.layer] if isinstance(layer, keras.layers.Wrapper) else []


def _same(x: Tensor, dtype: str) -> Tensor:
    """A tensor on its way into or out of a model in the model."""
    return x if x.dtype == dtype else tf.cast(x, dtype)


def _same_structure(expected: Any, *args: Any) -> bool:
    try:
        keras.tree.assert_same_structure(expected, *args)
    except (TypeError, ValueError):
        return False
    return True


def _keras_tensors(structure: Any) -> list[keras.KerasTensor]:
    leaves: Iterable[Any] = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def _repeat(tensor: Tensor, scope: random.DrawScope) -> Tensor:
    """`[B, ...]` to a stack, of as many as the scope has draws."""
    count = tf.shape(scope.key)[:1]
    if scope.is_by_row:
        return tf.repeat(tensor, count, axis=0)
    # Not `tf.tile`, which LiteRT's converter takes for a broadcast of rows.
    sizes = tf.shape(tensor)
    stack = tf.broadcast_to(tensor, tf.concat([count, sizes], 0))
    stack = tf.reshape(stack, tf.concat([[-1], sizes[1:]], 0))
    stack.set_shape([None, *tensor.shape[1:]])
    return stack
