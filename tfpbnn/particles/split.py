"""A model's calls, split where its randomness begins."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.stacking import repeated
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.calls import Call, Graph, Tensors
from tfpbnn.networks.reading import is_noise, is_own, size
from tfpbnn.networks.within import within


def drawing_of(op: Any, input_shape: Any = None) -> random.Drawing:
    """What an operation can do in a draw scope.

    Args:
        op: a layer, or any other operation.
        input_shape: as for `RandomLayer.drawing`.
    """
    if isinstance(op, RandomLayer):
        return op.drawing(input_shape)
    if not is_random(op):
        return random.Drawing(is_random=False)
    sizes = (math.prod(v.shape) for v in op.trainable_variables)
    return random.Drawing(num_normals=sum(sizes))


def is_random(op: Any) -> bool:
    """Whether a layer's outputs differ between draws of one input.

    Keras's own layers don't, in inference; of a user's layer with a seed of
    its own it can't be known.
    """
    if isinstance(op, RandomLayer):
        return op.drawing().is_random
    if not isinstance(op, keras.layers.Layer):
        return False
    if any(map(is_noise, op.variables)):
        return True
    if is_own(op):
        return False
    weights = {id(v) for v in op.weights}
    return any(id(v) not in weights for v in op.variables)


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
        random_calls: the calls of random layers.
        touched_calls: the calls whose outputs differ between draws.
        untouched_calls: all others.
    """

    def __init__(self, model: keras.Model):
        """Reads the model; see `Graph`."""
        super().__init__(model)
        self.random_calls = [c for c in self.calls if is_random(c.op)]
        self.touched_calls: list[Call] = []
        self.untouched_calls: list[Call] = []
        self._touched: set[int] = set()
        self._drawings: dict[int, random.Drawing] = {}
        for call in self.calls:
            if is_random(call.op) or self.has_touched_inputs(call):
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
            shape = tuple(call.inputs[0].shape)
            self._drawings[id(call)] = drawing_of(call.op, shape)
        return self._drawings[id(call)]

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
                    and is_random(call.op)
                    and not self.has_touched_inputs(call)
                )
                call.do(get_shared if scope.is_shared else get, tensors)

        within(function=run, training=False)
        return keras.tree.map_structure(get, self.outputs)
