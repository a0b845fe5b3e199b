"""Describes operations that are linear in their kernel, for the estimators.

To add one, write its `apply`, and say which axes of the input and of the result
carry indices of the kernel.
"""

import dataclasses
import string
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfpbnn.base.stacking import reshape
from tfpbnn.base.types import Tensor


@dataclasses.dataclass(frozen=True)
class LinearOp:
    """Describes an operation `apply(x, kernel)` that is linear in the kernel.

    Attributes:
        apply: the operation. Of `keras.KerasTensor`s it gives the shape.
        x_axes: the axes of x that carry indices of the kernel, as negative
            numbers.
        y_axes: the axes of the result that do so, as negative numbers.
        apply_squared: the operation on variances: the same operation with every
            coefficient squared, given x and the variances. The default fits
            operations that sum products of one x and one kernel element.
        dtype: the dtype of the kernel and the result, if it is not that of x.
        unit_axes: the axes of the kernel that are the indices of its output
            units, as negative numbers.
        apply_stack: `apply` for S kernels at once: x `[S or 1, B, ...]` and
            kernels `[S, ...]` to `[S, B, ...]`, or a shape that broadcasts to
            it. None where a loop over the kernels is as good.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    x_axes: tuple[int, ...]
    y_axes: tuple[int, ...]
    apply_squared: Callable[[Tensor, Tensor], Tensor] | None = None
    dtype: str | None = None
    apply_stack: Callable[[Tensor, Tensor], Tensor] | None = None
    unit_axes: tuple[int, ...] = (-1,)

    def __call__(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Applies the kernel in the precision of the computation."""
        return self.apply(x, tf.cast(kernel, self.dtype or x.dtype))

    def stacked(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Gives the results of S kernels, as `apply_stack` does."""
        kernels = tf.cast(kernels, self.dtype or x.dtype)
        if self.apply_stack is not None:
            return self.apply_stack(x, kernels)
        dtype = self.dtype or x.dtype
        if x.shape[0] == 1:
            return tf.map_fn(
                lambda kernel: self.apply(x[0], kernel),
                kernels,
                fn_output_signature=dtype,
            )
        return tf.map_fn(
            lambda pair: self.apply(*pair),
            (x, kernels),
            fn_output_signature=dtype,
        )

    def meets_once(self, x_rank: int, y_rank: int) -> bool:
        """Says whether no two numbers of a row's result share a kernel element.

        They are then independent of each other, if the elements are.
        """
        return (len(self.x_axes), len(self.y_axes)) == (x_rank - 1, y_rank - 1)

    def squared(self, x: Tensor, variance: Tensor) -> Tensor:
        """Gives the variance of `apply(x, kernel)` for independent elements.

        It is computed in float32 at least, since squares leave the range of
        float16 early.
        """
        if self.apply_squared is not None:
            return self.apply_squared(x, variance)
        x = tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)
        return self.apply(tf.square(x), tf.cast(variance, x.dtype))


def dense() -> LinearOp:
    """Makes the product of `x [..., I]` with a `kernel [I, O]`."""
    return LinearOp(
        keras.ops.matmul,
        x_axes=(-1,),
        y_axes=(-1,),
        apply_stack=_stacked_matmul,
    )


def _stacked_matmul(x: Tensor, kernels: Tensor) -> Tensor:
    """Multiplies `[S or 1, B, ..., I]` with `[S, I, O]`."""
    sizes = tf.shape(x)[1:-1]
    count, (size, units) = tf.shape(kernels)[0], kernels.shape[1:]
    if x.shape[0] == 1:
        # One large product, `[B, I] x [I, S * O]`, is faster than S small ones.
        wide = tf.reshape(tf.transpose(kernels, [1, 0, 2]), [size, -1])
        # Sparse rows are multiplied as they are.
        y = keras.ops.matmul(reshape(x, [-1, size]), wide)
        y = tf.reshape(y, [-1, count, units])
        y = tf.transpose(y, [1, 0, 2])
    else:
        y = tf.reshape(x, [count, -1, size]) @ kernels
    y = tf.reshape(y, tf.concat([[count], sizes, [units]], 0))
    y.set_shape([None, *x.shape[1:-1], units])
    return y


def channel_axis(data_format: str, rank: int) -> int:
    """Gives the axis of channels, negative, next to `rank` spatial axes."""
    return -1 if data_format == "channels_last" else -1 - rank


def conv(
    strides: Sequence[int],
    padding: str,
    dilation_rate: Sequence[int],
    data_format: str,
) -> LinearOp:
    """Makes `keras.ops.conv`, causal too, of `kernel [*K, I / groups, O]`."""
    rank = len(strides)
    axis = channel_axis(data_format, rank)
    keras_padding = "valid" if padding == "causal" else padding

    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        if padding == "causal":
            before = dilation_rate[0] * (kernel.shape[0] - 1)
            pads = [(0, 0)] * 3
            pads[1 if axis == -1 else 2] = (before, 0)
            x = keras.ops.pad(x, pads)
        return keras.ops.conv(
            x,
            kernel,
            list(strides),
            keras_padding,
            data_format,
            tuple(dilation_rate),
        )

    return LinearOp(apply, x_axes=(axis,), y_axes=(axis,))


def conv_transpose(
    strides: Sequence[int],
    padding: str,
    output_padding: Sequence[int] | None,
    dilation_rate: Sequence[int],
    data_format: str,
) -> LinearOp:
    """Makes `keras.ops.conv_transpose` with a `kernel [*K, O, I]`."""
    axis = channel_axis(data_format, len(strides))

    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        return keras.ops.conv_transpose(
            x,
            kernel,
            list(strides),
            padding,
            None if output_padding is None else list(output_padding),
            data_format,
            list(dilation_rate),
        )

    return LinearOp(apply, (axis,), (axis,), unit_axes=(-2,))


def depthwise_conv(
    strides: Sequence[int],
    padding: str,
    dilation_rate: Sequence[int],
    data_format: str,
) -> LinearOp:
    """Makes `keras.ops.depthwise_conv` with a `kernel [*K, I, multiplier]`."""
    axis = channel_axis(data_format, len(strides))

    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        return keras.ops.depthwise_conv(
            x,
            kernel,
            tuple(strides),
            padding,
            data_format,
            tuple(dilation_rate),
        )

    return LinearOp(apply, (axis,), (axis,), unit_axes=(-2, -1))


def einsum(inputs: str, kernel: str, outputs: str) -> LinearOp:
    """Makes `einsum("inputs,kernel->outputs")`, of letters alone."""
    equation = f"{inputs},{kernel}->{outputs}"

    def axes(letters: str) -> tuple[int, ...]:
        return tuple(
            i - len(letters) for i, c in enumerate(letters) if c in kernel
        )

    (draw, *_) = (c for c in string.ascii_letters if c not in equation)

    def apply_stack(x: Tensor, kernels: Tensor) -> Tensor:
        shared = x.shape[0] == 1
        left = inputs if shared else draw + inputs
        stacked = f"{left},{draw}{kernel}->{draw}{outputs}"
        return keras.ops.einsum(stacked, x[0] if shared else x, kernels)

    return LinearOp(
        lambda x, weights: keras.ops.einsum(equation, x, weights),
        x_axes=axes(inputs),
        y_axes=axes(outputs),
        apply_stack=apply_stack,
        unit_axes=tuple(
            i - len(kernel) for i, c in enumerate(kernel) if c in outputs
        ),
    )


def embedding(dtype: str) -> LinearOp:
    """Makes the operation that takes rows of `kernel [V, O]` by numbers x."""

    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        return keras.ops.take(kernel, x, axis=0)

    def apply_stack(x: Tensor, kernels: Tensor) -> Tensor:
        if x.shape[0] == 1:
            return tf.gather(kernels, x[0], axis=1)
        return tf.gather(kernels, x, axis=1, batch_dims=1)

    return LinearOp(
        apply,
        x_axes=(),
        y_axes=(-1,),
        apply_squared=apply,
        dtype=dtype,
        apply_stack=apply_stack,
    )


def bias(
    axes: Sequence[int] = (-1,), shape: Sequence[int] | None = None
) -> LinearOp:
    """Makes the operation that lays a bias along axes of x.

    Of x only the shape matters: as a linear operation its input is all ones,
    and so are their squares.

    Args:
        axes: an axis of x, negative, for each axis of the kernel.
        shape: the kernel's, if it has axes of size 1 that broadcast.
    """

    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        return tf.broadcast_to(aligned(kernel, len(x.shape), axes), tf.shape(x))

    def apply_stack(x: Tensor, kernels: Tensor) -> Tensor:
        sizes = [1] * (len(x.shape) - 1)
        for axis, size in zip(axes, kernels.shape[1:], strict=True):
            sizes[axis] = size
        return tf.reshape(kernels, [-1, *sizes])

    indexed = [a for i, a in enumerate(axes) if not shape or shape[i] != 1]
    return LinearOp(
        apply,
        x_axes=(),
        y_axes=tuple(indexed),
        apply_stack=apply_stack,
    )


def aligned(kernel: Tensor, rank: int, axes: Sequence[int]) -> Tensor:
    """Reshapes a bias so that it broadcasts to a tensor of this rank."""
    if tuple(axes) == tuple(range(-len(axes), 0)):
        return kernel
    shape = [1] * rank
    for axis, size in zip(axes, kernel.shape, strict=True):
        shape[axis] = size
    return tf.reshape(kernel, shape)
