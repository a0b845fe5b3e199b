"""Operations that are linear in their kernel, as the estimators see them."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from tfpbnn.types import Tensor


@dataclasses.dataclass(frozen=True)
class LinearOp:
    """`apply(x, kernel)`, linear in the kernel.

    Attributes:
        apply: the operation.
        x_axes: the axes of x that carry kernel indices, negative.
        y_axes: the axes of the result that carry kernel indices, negative.
        apply_squared: how variances go through: the same operation with every
            coefficient squared, given `x**2`. The default fits operations
            that sum products of one x and one kernel element.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    x_axes: tuple[int, ...]
    y_axes: tuple[int, ...]
    apply_squared: Callable[[Tensor, Tensor], Tensor] | None = None

    def squared(self, x: Tensor, variance: Tensor) -> Tensor:
        """The variance of `apply(x, kernel)` for independent kernel elements.

        In float32 at least: squares leave the range of float16 early.
        """
        x = tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)
        apply = self.apply_squared or self.apply
        return apply(tf.square(x), tf.cast(variance, x.dtype))


def dense() -> LinearOp:
    """`x [..., I]` times `kernel [I, O]`."""
    return LinearOp(keras.ops.matmul, x_axes=(-1,), y_axes=(-1,))


def bias(axis: int = -1) -> LinearOp:
    """`kernel [O]` broadcast along `axis` of x, which only gives the shape.

    As a linear operation its input is all ones, and so are their squares.
    """

    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        shape = [1] * len(x.shape)
        shape[axis] = -1
        return tf.broadcast_to(tf.reshape(kernel, shape), tf.shape(x))

    return LinearOp(apply, x_axes=(), y_axes=(axis,))
