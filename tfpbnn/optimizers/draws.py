"""Draws weights about their means, in one pass where they are many."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base.types import Tensor
from tfpbnn.fused import thresholds


def perturbed(
    variables: Sequence[keras.Variable],
    states: Sequence[keras.Variable],
    stddev: Callable[[Any], Tensor],
    key: Tensor,
) -> list[Tensor]:
    """Draws independent Normals whose means are the variables.

    Args:
        variables: the means.
        states: what each standard deviation is computed from.
        stddev: a function that computes it from a state.
        key: the key of the draw, `[2]`.

    Returns:
        A tensor for each variable. The pass over many weights gives the draws
        of the plain operations, up to rounding.
    """
    parts = list(zip(variables, states, strict=True))

    def draw(key: Tensor, normal: Callable[..., Tensor]) -> list[Tensor]:
        return [
            tf.convert_to_tensor(v)
            + stddev(state) * normal(random.fold(key, i), v.shape, v.dtype)
            for i, (v, state) in enumerate(parts)
        ]

    if not _is_fused(variables):
        return draw(key, _plain)
    return fused.compiled(lambda key: draw(key, _in_one_loop))(key)


def _plain(key: Tensor, shape: Any, dtype: Any) -> Tensor:
    if dtype != "float32":
        return random.normal(key, shape, dtype)
    size = math.prod(shape)
    normals = random.normal_grid(key[tf.newaxis], tf.zeros([1], tf.int64), size)
    return tf.reshape(normals, shape)


def _in_one_loop(key: Tensor, shape: Any, dtype: Any) -> Tensor:
    """Makes the normals of `_plain`, in the loop that uses them.

    Philox makes words in fours, and XLA would make them anew for each.
    """
    size, rows = math.prod(shape), tf.zeros([1], tf.int64)
    words = random.fast_grid_bits(key[tf.newaxis], rows, size)
    normals = random.fast_normal_from_bits(words)
    return tf.cast(tf.reshape(normals, shape), dtype)


def _is_fused(variables: Sequence[keras.Variable]) -> bool:
    size = sum(math.prod(v.shape) for v in variables)
    return (
        size >= thresholds.MIN_SIZE
        and not tf.executing_eagerly()  # it would compile anew each time
        and all(v.dtype == "float32" for v in variables)
    )
