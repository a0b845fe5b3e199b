"""Gives layers that perturb their inputs their random numbers.

Outside of a scope (training, plain calls) each row has random numbers of its
own. In a scope, and so in `predict`, a draw is one function: all rows have the
same, unless draws are marginal.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base.stacking import dense, flatten, unflatten
from tfpbnn.base.types import Tensor

NoiseShape = Sequence[int | None] | None


def perturbed(
    x: Tensor,
    key: Tensor,
    apply: Callable[[Tensor, random.RandomNumbers], Tensor],
    noise_shape: NoiseShape = None,
) -> Tensor:
    """Gives `apply(x, numbers)` for x as the current scope hands it to layers.

    Args:
        x: the inputs, `[B, ...]`; as `random.DrawScope` says if it is stacked.
        key: that of the layer, of the same shape as the scope's.
        apply: an elementwise function; x and the result may have an axis of
            draws before that of rows.
        noise_shape: what Keras's dropout takes: 1 for axes along which the
            numbers are the same, None or the size for others.
    """
    x = dense(x)  # noise leaves no zeros, or has an axis of draws
    scope = random.current_scope()
    if scope is None:
        return apply(x, random.RandomNumbers(key, _sizes(x, noise_shape)))
    if not scope.is_stacked:
        normals = _normals(x, key[tf.newaxis], scope, noise_shape)
        return apply(x, random.RandomNumbers(None, normals=normals[0]))
    normals = _normals(x, key, scope, noise_shape)
    count = 1 if scope.is_shared else tf.shape(key)[0]
    stack = unflatten(x, count)
    return flatten(apply(stack, random.RandomNumbers(None, normals=normals)))


def _sizes(x: Tensor, noise_shape: NoiseShape) -> list[Any]:
    """Gives the noise's shape, with tensors for sizes that aren't known."""
    known, asked = tf.shape(x), noise_shape or [None] * len(x.shape)
    if len(asked) != len(x.shape):
        raise ValueError(
            "`noise_shape` must have a number or None for each axis of the "
            f"inputs, the batch's too. Received: noise_shape={noise_shape}, "
            f"inputs of shape {tuple(x.shape)}"
        )
    return [
        size or x.shape[axis] or known[axis] for axis, size in enumerate(asked)
    ]


def _normals(
    x: Tensor, keys: Tensor, scope: random.DrawScope, noise_shape: NoiseShape
) -> Tensor:
    """Draws normals `[S, B or 1, ...]` that broadcast to `[S, B, ...]`."""
    sizes = _sizes(x, noise_shape)[1:]
    rows = scope.rows
    # A first size of 1 asks for the same numbers in all rows.
    if rows is None or (noise_shape is not None and noise_shape[0] == 1):
        rows = tf.zeros([1], tf.int64)
    size = functools.reduce(operator.mul, sizes, 1)
    if isinstance(size, int):
        with fused.enabled(draws=True):
            normals = fused.normal_grid(keys, rows, size)
    else:
        words = random.grid_bits(keys, rows, size)
        normals = random.signed(random.normal_from_bits(words))
    return tf.reshape(normals, [*tf.unstack(tf.shape(normals)[:2]), *sizes])
