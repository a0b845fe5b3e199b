"""Parts are cut out of traced graphs here."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor

# How weights are made of their parameters.
_EXPENSIVE = {
    "Cholesky",
    "Exp",
    "Expm1",
    "Log",
    "MatMul",
    "Sigmoid",
    "Softplus",
}
# Smaller tensors are no work.
_SMALL = 1024


def is_expensive(op: Any) -> bool:
    """Returns whether an operation of variables alone is to be done once."""
    if op.type not in _EXPENSIVE:
        return False
    size = op.outputs[0].shape.num_elements()
    return size is not None and size > _SMALL


def traced(function: Callable[..., Any], specs: Sequence[tf.TensorSpec]) -> Any:
    """Traces a function of tensors as a graph that can be cut anywhere."""
    return tf.compat.v1.wrap_function(function, list(specs))


class Rest:
    """The rest of a graph is its outputs, from tensors inside of it.

    Of its variables it has only those that are used from there on.
    """

    def __init__(self, graph: Any, given: Sequence[Tensor]):
        """Cuts the graph.

        Args:
            graph: what `traced` gave.
            given: any tensors of it.
        """
        self._graph = graph.prune(list(given), graph.outputs).graph
        # Some operations, such as those of words, tell a copy of the graph
        # less of their shapes than the layer that called them has told it.
        self._shapes = [y.shape for y in graph.outputs]
        # Callers share one graph of it.
        self._call = tf.function(self._imported, autograph=False)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        return list(self._call(*tensors))

    def _imported(self, *tensors: Tensor) -> list[Tensor]:
        graph, here = self._graph, tf.compat.v1.get_default_graph()
        outputs = graph.outputs
        needed = tf.compat.v1.graph_util.extract_sub_graph(
            graph.as_graph_def(), [y.op.name for y in outputs]
        )
        _drop_unused_functions(needed)
        names = {node.name for node in needed.node}
        values = [*tensors, *(outer for outer, _ in graph.captures)]
        given = {
            tensor.name: here.capture(value)
            for tensor, value in zip(graph.inputs, values, strict=True)
            if tensor.op.name in names
        }
        imported = tf.graph_util.import_graph_def(
            needed, given, [y.name for y in outputs], name=""
        )
        for y, shape in zip(imported, self._shapes, strict=True):
            y.set_shape(shape)
        return imported


def _drop_unused_functions(graph: Any) -> None:
    """Removes functions that no node calls any more, such as those of draws."""
    bodies = {f.signature.name: f for f in graph.library.function}
    open_nodes, used = list(graph.node), set()
    while open_nodes:
        for attr in open_nodes.pop().attr.values():
            for function in (attr.func, *attr.list.func):
                if function.name in bodies and function.name not in used:
                    used.add(function.name)
                    open_nodes += bodies[function.name].node_def
    kept = [body for name, body in bodies.items() if name in used]
    del graph.library.function[:]
    graph.library.function.extend(kept)
