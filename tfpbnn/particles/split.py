"""A model's calls, split where its randomness begins."""

import inspect
import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.stacking import repeated
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.calls import Call, Graph, Tensors
from tfpbnn.networks.reading import size
from tfpbnn.networks.within import within
from tfpbnn.particles.effects import Effects, effects_of, joined


def weights_per_row(call: Call, unknown: int) -> int:
    """The count of products of a row with a weight in one call.

    Args:
        call: a call of a model's.
        unknown: what axes of unknown size have, in all.
    """
    if not isinstance(call.op, keras.layers.Layer):
        return 0
    positions = size(call.outputs[0].shape[1:-1], unknown)
    weights = (
        [posterior.loc for posterior in call.op.posteriors]
        if isinstance(call.op, VariationalLayer)
        else call.op.trainable_variables
    )
    kernels = (v for v in weights if len(v.shape) > 1)
    return positions * sum(math.prod(v.shape) for v in kernels)


class DrawGraph(Graph):
    """A model's calls, some of which differ between draws.

    `before` does the calls that are the same for all draws, `after` the rest.

    Attributes:
        effects: those of all calls together.
        random_calls: the calls whose outputs differ between draws of one input.
        touched_calls: the calls that differ between draws: random ones, those
            that keep state, and those that come after.
        untouched_calls: all others.
    """

    def __init__(self, model: keras.Model):
        """Reads the model; see `Graph`."""
        super().__init__(model)
        self.random_calls: list[Call] = []
        self.touched_calls: list[Call] = []
        self.untouched_calls: list[Call] = []
        self._touched: set[int] = set()
        self._drawings: dict[int, random.Drawing] = {}
        self._effects = {id(call): _effects(call) for call in self.calls}
        self.effects = joined(self._effects.values())
        for call in self.calls:
            effects = self._effects[id(call)]
            if effects.is_random:
                self.random_calls.append(call)
            is_own = effects.is_random or effects.states
            if is_own or self.has_touched_inputs(call):
                self.touched_calls.append(call)
                self._touched.update(id(tensor) for tensor in call.outputs)
            else:
                self.untouched_calls.append(call)

    def is_touched(self, tensor: keras.KerasTensor) -> bool:
        """Whether a tensor differs between draws."""
        return id(tensor) in self._touched

    def has_touched_inputs(self, call: Call) -> bool:
        """Whether any input of a call differs between draws."""
        return any(map(self.is_touched, call.inputs))

    def drawing(self, call: Call) -> random.Drawing:
        """What the layer of a call can do in a draw scope, for its inputs."""
        if id(call) not in self._drawings:
            self._drawings[id(call)] = self._drawing(call)
        return self._drawings[id(call)]

    def _drawing(self, call: Call) -> random.Drawing:
        effects = self._effects[id(call)]
        if isinstance(call.op, RandomLayer):
            drawing = call.op.drawing(tuple(call.inputs[0].shape))
            if drawing.is_random or not effects.is_random:
                return drawing
        if not effects.is_random:
            return random.Drawing(is_random=False)
        sizes = [math.prod(v.shape) for v in _trained(call.op)]
        return random.Drawing(
            num_draws=effects.num_draws,
            num_normals=sum(sizes) if effects.sources else 0,
        )

    def before(self, x: Any) -> Tensors:
        """Does what is the same for all draws, with inputs x."""
        tensors = self.enter(x)

        def get(leaf: Any) -> Any:
            is_tensor = isinstance(leaf, keras.KerasTensor)
            return tensors[id(leaf)] if is_tensor else leaf

        def run() -> None:
            for call in self.untouched_calls:
                call.do(get, tensors)

        within(function=run, training=False)
        return tensors

    def after(self, tensors: Tensors, scope: random.DrawScope) -> Any:
        """Does the rest in a scope; gives the model's outputs.

        In a stacked scope they are `[S * B, ...]`.
        """
        tensors, copies = dict(tensors), {}

        def get_shared(leaf: Any) -> Any:
            is_tensor = isinstance(leaf, keras.KerasTensor)
            return tensors[id(leaf)] if is_tensor else leaf

        def get(leaf: Any) -> Any:
            if not isinstance(leaf, keras.KerasTensor):
                return leaf
            if not scope.is_stacked or self.is_touched(leaf):
                return tensors[id(leaf)]
            if id(leaf) not in copies:
                count = tf.shape(scope.key)[0]
                copies[id(leaf)] = repeated(tensors[id(leaf)], count)
            return copies[id(leaf)]

        def run() -> None:
            for call in self.touched_calls:
                scope.is_shared = (
                    scope.is_stacked
                    and self.drawing(call).is_random
                    and not self.has_touched_inputs(call)
                )
                call.do(get_shared if scope.is_shared else get, tensors)

        within(function=run, training=False)
        return keras.tree.map_structure(get, self.outputs)


def _effects(call: Call) -> Effects:
    """The effects of a call, for inputs of the shapes in the graph."""
    inputs = call.inputs
    mask = mask_of(inputs[0]) if inputs else None
    takes_mask = "mask" not in call.kwargs and mask is not None
    if takes_mask and "mask" in inspect.signature(call.op.call).parameters:
        call = call._replace(kwargs=call.kwargs | {"mask": mask})
        inputs = call.inputs
    places = {id(key): i for i, key in enumerate(inputs)}

    def do(tensors: list[Any]) -> Any:
        def get(leaf: Any) -> Any:
            is_tensor = isinstance(leaf, keras.KerasTensor)
            return tensors[places[id(leaf)]] if is_tensor else leaf

        args, kwargs = call.arguments(get)
        return call.op(*args, **kwargs)

    return effects_of(call.op, do, lambda: list(map(_spec, inputs)))


def _spec(x: keras.KerasTensor) -> Any:
    cls = tf.SparseTensorSpec if x.sparse else tf.TensorSpec
    return cls(x.shape, x.dtype)


def _trained(op: Any) -> list[Any]:
    return list(getattr(op, "trainable_variables", []))
