"""Finds where a graph applies a weight, so that rows have their own slopes.

Of a product the slope of a row is its input times the slope of its output. So
it is enough to know a weight's operations in the graph, whatever layer made
them.
To add an operation: a function in `_READERS`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor

_SAME_ORDER = ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze")
_IDLE = ("Shape", "ShapeN", "Size", "Rank")


@dataclasses.dataclass(frozen=True)
class Use:
    """One operation that a weight is part of.

    Attributes:
        output: what it computes, linear in the weight.
        sizes: the weight as a matrix, (I, O); (1, O) if it is added.
        inputs: what rows multiply it with, `[B, T, I]`; None if it is added.
        ids: the rows of the matrix that rows take, `[B, T]`, instead.
    """

    output: Tensor
    sizes: tuple[int, int]
    inputs: Tensor | None = None
    ids: Tensor | None = None

    def slopes(self, by_output: Tensor, rows: Tensor) -> Tensor:
        """Turns slopes of the output, `[C, ...]`, to `[C, B, T, O]`."""
        shape = [tf.shape(by_output)[0], rows, -1, self.sizes[1]]
        return tf.reshape(by_output, shape)

    def design(self, dtype: Any) -> Tensor:
        """The inputs `[B, T, I]`, of ids in columns of 0 and 1."""
        if self.ids is not None:
            return tf.one_hot(self.ids, self.sizes[0], dtype=dtype)
        assert self.inputs is not None
        return tf.cast(self.inputs, dtype)

    def jacobian(self, slopes: Tensor) -> Tensor:
        """The slopes of rows in the weight, `[C, B, I * O]`."""
        if self.inputs is None and self.ids is None:
            return tf.reduce_sum(slopes, axis=2)
        design = self.design(slopes.dtype)
        found = tf.einsum("bti,cbto->cbio", design, slopes)
        return tf.reshape(found, [*_leading(found), math.prod(self.sizes)])

    def along(self, slopes: Tensor, vectors: Tensor) -> Tensor:
        """Multiplies the Jacobian with vectors `[I * O, K]`, to `[C, B, K]`.

        The Jacobian itself is not made.
        """
        matrices = tf.reshape(vectors, [*self.sizes, -1])
        if self.inputs is None and self.ids is None:
            return tf.einsum("cbto,ok->cbk", slopes, matrices[0])
        if self.ids is not None:
            changes = tf.gather(matrices, self.ids)
        else:
            design = self.design(slopes.dtype)
            changes = tf.tensordot(design, matrices, 1)
        return tf.einsum("cbto,btok->cbk", slopes, changes)

    def back(self, slopes: Tensor, factors: Tensor) -> Tensor:
        """Multiplies factors `[C, B, K]` with the Jacobian: `[I * O, K]`."""
        if self.inputs is None and self.ids is None:
            return tf.einsum("cbto,cbk->ok", slopes, factors)
        by_output = tf.einsum("cbto,cbk->btok", slopes, factors)
        if self.ids is not None:
            found = tf.math.unsorted_segment_sum(
                by_output, self.ids, self.sizes[0]
            )
        else:
            design = self.design(slopes.dtype)
            found = tf.tensordot(design, by_output, [[0, 1], [0, 1]])
        return tf.reshape(found, [math.prod(self.sizes), -1])


def _leading(tensor: Tensor) -> list[Tensor]:
    shape = tf.shape(tensor)
    return [shape[0], shape[1]]


def uses_of(value: Tensor, rows: Tensor) -> list[Use] | None:
    """Finds all uses of a weight's value in a graph of `rows` rows.

    Returns:
        The uses; None if an operation is of no known kind.
    """
    found: list[Use] = []
    for op in value.consumers():
        if op.type in _IDLE:
            continue
        if op.type in _SAME_ORDER and op.inputs[0] is value:
            inner = uses_of(op.outputs[0], rows)
        else:
            reader = _READERS.get(op.type)
            use = reader(op, value, rows) if reader else None
            inner = None if use is None else [use]
        if inner is None:
            return None
        found += inner
    return found


def _product(op: Any, value: Tensor, rows: Tensor) -> Use | None:
    turned = ("transpose_a", "transpose_b", "adj_x", "adj_y")
    names = {attribute.name for attribute in op.op_def.attr}
    if any(name in names and op.get_attr(name) for name in turned):
        return None
    if op.inputs[1] is not value or len(value.shape) != 2:
        return None
    sizes = tuple(value.shape)
    inputs = tf.reshape(op.inputs[0], [rows, -1, sizes[0]])
    return Use(op.outputs[0], sizes, inputs=inputs)


def _einsum(op: Any, value: Tensor, rows: Tensor) -> Use | None:
    left, _, outputs = op.get_attr("equation").decode().partition("->")
    labels, _, own = left.partition(",")
    if len(op.inputs) != 2 or op.inputs[1] is not value or "." in left:
        return None
    summed = [label for label in own if label in labels]
    others = [label for label in own if label not in labels]
    places = [label for label in labels if label not in summed]
    is_product = summed + others == list(own)
    if not is_product or places + others != list(outputs):
        return None
    sizes = dict(zip(own, value.shape, strict=True))
    units = math.prod(sizes[label] for label in others)
    size = math.prod(sizes[label] for label in summed)
    order = [labels.index(label) for label in places + summed]
    inputs = tf.reshape(tf.transpose(op.inputs[0], order), [rows, -1, size])
    return Use(op.outputs[0], (size, units), inputs=inputs)


def _convolution(op: Any, value: Tensor, rows: Tensor) -> Use | None:
    x = op.inputs[0]
    padding, form = op.get_attr("padding"), op.get_attr("data_format")
    is_plain = padding in (b"SAME", b"VALID") and form == b"NHWC"
    if op.inputs[1] is not value or not is_plain:
        return None
    height, width, channels, units = value.shape
    if x.shape[-1] != channels:  # in groups
        return None
    patches = tf.image.extract_patches(
        x,
        [1, height, width, 1],
        op.get_attr("strides"),
        op.get_attr("dilations"),
        padding.decode(),
    )
    size = height * width * channels
    inputs = tf.reshape(patches, [rows, -1, size])
    return Use(op.outputs[0], (size, units), inputs=inputs)


def _lookup(op: Any, value: Tensor, rows: Tensor) -> Use | None:
    if op.inputs[0] is not value or len(value.shape) != 2:
        return None
    if tf.get_static_value(op.inputs[2]) != 0 or op.get_attr("batch_dims"):
        return None
    ids = tf.reshape(op.inputs[1], [rows, -1])
    return Use(op.outputs[0], tuple(value.shape), ids=ids)


def _sum(op: Any, value: Tensor, _: Tensor) -> Use | None:
    sizes = list(value.shape)
    while len(sizes) > 1 and sizes[0] == 1:
        sizes = sizes[1:]
    output = op.outputs[0]
    rank = len(sizes)
    if not rank or len(output.shape) <= rank:
        return None
    if list(output.shape[-rank:]) != sizes:
        return None
    return Use(output, (1, math.prod(sizes)))


_READERS: dict[str, Callable[[Any, Tensor, Tensor], Use | None]] = {
    "AddV2": _sum,
    "BatchMatMulV2": _product,
    "BiasAdd": _sum,
    "Conv2D": _convolution,
    "Einsum": _einsum,
    "GatherV2": _lookup,
    "MatMul": _product,
    "ResourceGather": lambda *_: None,
}
