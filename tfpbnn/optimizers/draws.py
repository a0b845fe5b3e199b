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

    def draw(means: Any, normal: Callable[..., Tensor]) -> list[Tensor]:
        return [
            mean + stddev(state) * normal(random.fold(key, i), v.shape, v.dtype)
            for i, (v, mean, state) in enumerate(
                zip(variables, means, states, strict=True)
            )
        ]

    # Behind them no tape sees what made the noise, and keeps it.
    means = [tf.stop_gradient(tf.convert_to_tensor(v)) for v in variables]
    if not _is_fused(variables):
        values = draw(means, _plain)
    else:
        values = fused.compiled(lambda m: draw(m, _in_one_loop))(means)
    return [_moved(v, x) for v, x in zip(variables, values, strict=True)]


def _moved(variable: keras.Variable, value: Tensor) -> Tensor:
    """Returns a draw that moves with its mean, the variable."""

    @tf.custom_gradient
    def of_mean(_: Tensor) -> Any:
        return tf.identity(value), lambda upstream: upstream

    return of_mean(tf.convert_to_tensor(variable))


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
