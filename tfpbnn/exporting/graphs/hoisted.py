"""What is expensive in a traced function and constant is done once."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.exporting.graphs.cutting import Rest, is_expensive, traced

_READS = {"Placeholder", "ReadVariableOp", "Const"}


class Hoisted:
    """In this function what is made of variables alone is a variable.

    Such as scales, of which training has others that no request changes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        specs: Sequence[tf.TensorSpec],
        kept: dict[Any, tf.Variable],
    ):
        """Traces the function, and cuts it.

        Args:
            function: of tensors.
            specs: of these.
            kept: variables by their contents, to be shared between functions.
        """
        graph = traced(function, specs)
        given = graph.inputs[: len(specs)]
        cut = _expensive(graph.graph, given)
        # Not with the trace: there tapes of layers would record nothing.
        with tf.init_scope():
            values = graph.prune([], cut)() if cut else []
            self._kept = [_variable(value, kept) for value in values]
        self._rest = Rest(graph, [*given, *cut])
        self._structure = graph.structured_outputs

    def __call__(self, *tensors: Tensor) -> Any:
        kept = map(tf.convert_to_tensor, self._kept)
        outputs = self._rest(*tensors, *kept)
        return keras.tree.pack_sequence_as(self._structure, outputs)


def _variable(value: Tensor, kept: dict[Any, tf.Variable]) -> tf.Variable:
    content = value.dtype, tuple(value.shape), value.numpy().tobytes()
    if content not in kept:
        kept[content] = tf.Variable(value, trainable=False)
    return kept[content]


def _expensive(graph: Any, given: list[Tensor]) -> list[Tensor]:
    """Finds the last expensive tensors that are of variables alone."""
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
        elif is_expensive(op):
            behind[op.name] = {op.outputs[0].name: op.outputs[0]}
        else:
            behind[op.name] = {
                name: tensor
                for source in sources
                for name, tensor in behind.get(source, {}).items()
            }
    return list(found.values())
