"""Draws weights about their means, in one pass where they are many."""

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
            + stddev(state)
            * normal(random.fold(key, i), v.shape, **_dtype(v.dtype))
            for i, (v, state) in enumerate(parts)
        ]

    if not _is_fused(variables):
        return draw(key, random.normal)
    compiled = fused.compiled(lambda key: draw(key, random.fast_normal))
    return compiled(key)


def _dtype(dtype: str) -> dict[str, str]:
    """The argument of `random.normal`; its fast form has float32 alone."""
    return {} if dtype == "float32" else {"dtype": dtype}


def _is_fused(variables: Sequence[keras.Variable]) -> bool:
    size = sum(v.shape.num_elements() for v in variables)
    return (
        size >= thresholds.MIN_SIZE
        and not tf.executing_eagerly()  # it would compile anew each time
        and all(v.dtype == "float32" for v in variables)
    )
