"""Says how a low-rank kernel is applied: as two operations, one per factor.

To add a layer that takes adapters, write a function of the layer that gives its
`Factors`, and enter it in `_FACTORS`.
"""

import dataclasses
import math
import string
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.layers.linear import ops
from tfpbnn.layers.linear.ops import LinearOp


@dataclasses.dataclass(frozen=True)
class Factors:
    """Describes how a kernel is the product of `a [*I, R]` and `b [R, *O]`.

    Attributes:
        a: the operation from the inputs to R numbers.
        b: that from these to the outputs.
        a_sizes: the sizes I of the kernel's axes that meet the inputs.
        b_sizes: the sizes O of the others.
        kernel_axes: where the axes `(*I, *O)` are in the kernel.
        is_by_row: whether the first axis is that of rows, so that rows may
            have signs of their own.
        takes_indices: whether the inputs are indices of rows of `a`.
    """

    a: LinearOp
    b: LinearOp
    a_sizes: tuple[int, ...]
    b_sizes: tuple[int, ...]
    kernel_axes: tuple[int, ...]
    is_by_row: bool = True
    takes_indices: bool = False

    @property
    def highest_rank(self) -> int:
        """The rank that a kernel of these sizes can have."""
        return min(math.prod(self.a_sizes), math.prod(self.b_sizes))

    def kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """Computes the product of the factors, in the kernel's own shape."""
        axes = self.kernel_axes
        places = [axes.index(axis) for axis in range(len(axes))]
        return tf.transpose(tf.tensordot(a, b, 1), places)


def _dense(layer: Any) -> Factors:
    inputs = layer.input_spec.axes[-1]
    return Factors(ops.dense(), ops.dense(), (inputs,), (layer.units,), (0, 1))


def _einsum_dense(layer: Any) -> Factors:
    left, _, outputs = layer.equation.replace(" ", "").partition("->")
    inputs, _, kernel = left.partition(",")
    shared = sorted(set(inputs) & set(kernel) & set(outputs))
    if shared:
        raise ValueError(
            f"has a kernel for each index {shared} of equation="
            f"{layer.equation!r}, which is no one matrix"
        )
    if "..." in inputs:  # letters for as many axes as the layer was built for
        spare = [c for c in string.ascii_letters if c not in layer.equation]
        count = layer.input_spec.ndim - len(inputs.replace("...", ""))
        elided = "".join(spare[:count])
        inputs = inputs.replace("...", elided)
        outputs = outputs.replace("...", elided)
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    a = [letter for letter in kernel if letter in inputs]
    b = [letter for letter in kernel if letter not in inputs]
    r = next(c for c in string.ascii_letters if c not in inputs + kernel)
    middle = "".join(c for c in inputs if c in outputs) + r
    return Factors(
        ops.einsum(inputs, "".join(a) + r, middle),
        ops.einsum(middle, r + "".join(b), outputs),
        tuple(sizes[letter] for letter in a),
        tuple(sizes[letter] for letter in b),
        tuple(kernel.index(letter) for letter in a + b),
        is_by_row=inputs[0] == outputs[0] and inputs[0] not in kernel,
    )


def _conv(layer: Any) -> Factors:
    *sizes, units = layer.kernel.shape
    down = ops.conv(
        layer.strides, layer.padding, layer.dilation_rate, layer.data_format
    )
    up = ops.dense()
    if layer.data_format == "channels_first":
        space = "xyz"[: layer.rank]
        up = ops.einsum(f"bi{space}", "io", f"bo{space}")
    if layer.groups > 1:
        axis = ops.channel_axis(layer.data_format, layer.rank)
        down, up = _grouped(down, up, layer.groups, axis)
    axes = tuple(range(len(sizes) + 1))
    return Factors(
        down, up, tuple(sizes), (units,), axes, is_by_row=layer.groups == 1
    )


def _grouped(
    down: LinearOp, up: LinearOp, groups: int, axis: int
) -> tuple[LinearOp, LinearOp]:
    """Applies `a` to each group of channels, and to each its columns of `b`.

    So their product adds to the kernel as it is stored, without the groups. As
    these share `a`, its noise can't have signs of its own for each channel.
    """

    def shared(x: Tensor, a: Tensor) -> Tensor:
        return down.apply(x, tf.tile(a, [1] * (len(a.shape) - 1) + [groups]))

    def apart(h: Tensor, b: Tensor) -> Tensor:
        pairs = zip(
            tf.split(h, groups, axis), tf.split(b, groups, -1), strict=True
        )
        return tf.concat([up.apply(*pair) for pair in pairs], axis)

    return (
        dataclasses.replace(down, apply=shared),
        dataclasses.replace(up, apply=apart, apply_stack=None),
    )


def _embedding(layer: Any) -> Factors:
    return Factors(
        ops.embedding(layer.compute_dtype),
        ops.dense(),
        (layer.input_dim,),
        (layer.output_dim,),
        (0, 1),
        takes_indices=True,
    )


# By the code that a layer runs. A subclass of one of these that has a `call` of
# its own may compute something else.
_FACTORS: dict[Any, Callable[[Any], Factors]] = {
    keras.layers.Dense.call: _dense,
    keras.layers.EinsumDense.call: _einsum_dense,
    keras.layers.Conv1D.call: _conv,
    keras.layers.Conv2D.call: _conv,
    keras.layers.Conv3D.call: _conv,
    keras.layers.Embedding.call: _embedding,
}
if hasattr(keras.layers, "ReversibleEmbedding"):
    _FACTORS[keras.layers.ReversibleEmbedding.call] = _embedding


def obstacle(layer: Any) -> str:
    """Says why a built layer takes no adapter; "" if it does."""
    if not is_linear(layer):
        return f"has no one kernel that {type(layer).__name__} is linear in"
    mode = getattr(layer, "quantization_mode", None)
    if mode not in (None, "int8"):
        return f"is quantized by {mode!r}, where adapters need 'int8' or none"
    if getattr(layer, "lora_enabled", False):
        return "has an adapter of Keras's, by `enable_lora`"
    try:
        factors_of(layer)
    except ValueError as error:
        return str(error)
    return ""


def is_linear(layer: Any) -> bool:
    """Says whether a layer is of a kind that has factors."""
    return type(layer).call in _FACTORS


def factors_of(layer: Any) -> Factors:
    """Describes the factors of a built layer's kernel.

    Raises:
        ValueError: says why it can't have any.
    """
    return _FACTORS[type(layer).call](layer)
