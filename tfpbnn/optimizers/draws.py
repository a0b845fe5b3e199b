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
    is_fused = _is_fused(variables)

    def draw(means: Any) -> list[Tensor]:
        return [
            mean + stddev(state) * normals(random.fold(key, i), mean, is_fused)
            for i, (mean, state) in enumerate(zip(means, states, strict=True))
        ]

    # Behind them no tape sees what made the noise, and keeps it.
    means = [tf.stop_gradient(tf.convert_to_tensor(v)) for v in variables]
    values = (fused.compiled(draw) if is_fused else draw)(means)
    return [_moved(v, x) for v, x in zip(variables, values, strict=True)]


def _moved(variable: keras.Variable, value: Tensor) -> Tensor:
    """Returns a draw that moves with its mean, the variable."""

    @tf.custom_gradient
    def of_mean(_: Tensor) -> Any:
        return tf.identity(value), lambda upstream: upstream

    return of_mean(tf.convert_to_tensor(variable))


def normals(key: Tensor, weight: Tensor, is_fused: bool) -> Tensor:
    """Draws standard normals in the shape of a weight.

    Those of float32 have addresses: XLA makes such numbers within the one loop
    of a step. It takes ten times as long with Philox, which makes words in
    fours, and there makes all four for each. This noise is used once, in one
    step, so it has only the rounds that the tests of random numbers need.

    Args:
        key: the key of the draw, `[2]`.
        weight: what the normals are for.
        is_fused: whether they are made in a loop of XLA.
    """
    shape, dtype = weight.shape, weight.dtype
    if dtype != tf.float32:
        return random.normal(key, shape, dtype)
    address = key[tf.newaxis], tf.zeros([1], tf.int64), shape.num_elements()
    if is_fused:
        words = random.fast_grid_bits(*address, random.LEAST_ROUNDS)
        found = random.fast_normal_from_bits(words)
    else:
        found = random.normal_grid(*address, random.LEAST_ROUNDS)
    return tf.reshape(found, shape)


def _is_fused(variables: Sequence[keras.Variable]) -> bool:
    size = sum(math.prod(v.shape) for v in variables)
    return (
        size >= thresholds.MIN_SIZE
        and not tf.executing_eagerly()  # it would compile anew each time
        and all(v.dtype == "float32" for v in variables)
    )
