"""A traced function whose expensive constants are computed once."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.types import Tensor

# How weights are made of their parameters: of those alone, so once is enough.
_EXPENSIVE = {
    "Cholesky",
    "Exp",
    "Expm1",
    "Log",
    "MatMul",
    "Sigmoid",
    "Softplus",
}
_READS = {"Placeholder", "ReadVariableOp", "Const"}
# Smaller tensors are no work.
_SMALL = 1024


class Hoisted:
    """A function in which what is made of variables alone is a variable.

    Such as scales, of which training has others that no request changes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        specs: Sequence[tf.TensorSpec],
        kept: dict[bytes, tf.Variable],
    ):
        """Traces.

        Args:
            function: of tensors.
            specs: of these.
            kept: variables by their contents, to be shared between functions.
        """
        # A function whose graph can be cut where we like.
        traced = tf.compat.v1.wrap_function(function, list(specs))
        given = traced.inputs[: len(specs)]
        cut = _expensive(traced.graph, given)
        values = traced.prune([], cut)() if cut else []
        self._kept = [_variable(value, kept) for value in values]
        self._rest = traced.prune([*given, *cut], traced.outputs).graph
        self._structure = traced.structured_outputs
        self._call = tf.function(self._imported, autograph=False)

    def __call__(self, *tensors: Tensor) -> Any:
        return keras.tree.pack_sequence_as(
            self._structure, list(self._call(*tensors))
        )

    def _imported(self, *tensors: Tensor) -> list[Tensor]:
        """The graph, without the variables that it has no use for any more."""
        graph = self._rest
        kept = map(tf.convert_to_tensor, self._kept)
        values = [*tensors, *kept, *(outer for outer, _ in graph.captures)]
        needed = tf.compat.v1.graph_util.extract_sub_graph(
            graph.as_graph_def(), [y.op.name for y in graph.outputs]
        )
        names = {node.name for node in needed.node}
        here = tf.compat.v1.get_default_graph()
        given = {
            tensor.name: here.capture(value)
            for tensor, value in zip(graph.inputs, values, strict=True)
            if tensor.op.name in names
        }
        return tf.graph_util.import_graph_def(
            needed, given, [y.name for y in graph.outputs], name=""
        )


def _variable(value: Tensor, kept: dict[bytes, tf.Variable]) -> tf.Variable:
    content = value.numpy().tobytes()
    if content not in kept:
        kept[content] = tf.Variable(value, trainable=False)
    return kept[content]


def _expensive(graph: Any, given: list[Tensor]) -> list[Tensor]:
    """The last expensive tensors that are of variables alone."""
    varying = {tensor.op.name for tensor in given}
    # By the name of an op that is of variables alone: the last ones behind it.
    behind: dict[str, dict[str, Tensor]] = {}
    found: dict[str, Tensor] = {}
    for op in graph.get_operations():
        sources = [tensor.op.name for tensor in op.inputs]
        sources += [source.name for source in op.control_inputs]
        is_random = op.op_def.is_stateful and op.type not in _READS
        if is_random or not varying.isdisjoint(sources):
            varying.add(op.name)
            for source in sources:
                found |= behind.get(source, {})
        elif op.type in _EXPENSIVE and _is_large(op.outputs[0]):
            behind[op.name] = {op.outputs[0].name: op.outputs[0]}
        else:
            behind[op.name] = {
                name: tensor
                for source in sources
                for name, tensor in behind.get(source, {}).items()
            }
    return list(found.values())


def _is_large(tensor: Tensor) -> bool:
    size = tensor.shape.num_elements()
    return size is not None and size > _SMALL
