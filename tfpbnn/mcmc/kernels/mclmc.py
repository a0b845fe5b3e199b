"""Microcanonical Langevin dynamics."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor
from tfpbnn.mcmc.kernels.base import Kernel, Step

# The variance of the energy's error of a step, for each dimension, that step
# sizes are adapted to, as in the paper: the bias is of its order.
_ENERGY_ERROR = 5e-4
# McLachlan's integrator of the second order with the least error.
_FIRST = 0.1931833275037836
_KICKS = (_FIRST, 1 - 2 * _FIRST, _FIRST)
_GRADIENTS_PER_STEP = 2


class _Point(NamedTuple):
    """Where chains are, `[C, D]`, and in which direction they go."""

    position: Tensor
    direction: Tensor
    log_prob: Tensor
    slope: Tensor


class MCLMC(Kernel):
    """Dynamics of constant speed, whose direction is turned a little by noise.

    Each gradient is a move, and none is rejected: so there is a bias, which is
    small where the energy is kept well. Step sizes are adapted to that. A step
    of this kernel goes as far as it takes the direction to be forgotten, by
    `sqrt(D)` in directions whitened by their widths.

    Reference:
        [Robnik et al., 2023](https://arxiv.org/abs/2212.08549); of networks,
        [Sommer et al., 2025](https://arxiv.org/abs/2502.06335)
    """

    def __init__(self, max_tree_depth: int, target_accept: float):
        # Half is where the energy's error is what it is to be; see `_quality`.
        super().__init__(max_tree_depth, 0.5)

    def memory(self, position: Array, generator: np.random.Generator) -> Array:
        direction = generator.standard_normal(position.shape)
        size = np.linalg.norm(direction, axis=-1, keepdims=True)
        return (direction / size).astype(position.dtype)

    def step(
        self,
        log_prob: Callable[[Tensor], Tensor],
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        adapts: Tensor,
    ) -> Step:
        length = math.sqrt(position.shape[-1])
        count = self._count(length, step_size)
        size = step_size[:, tf.newaxis]

        def body(i: Tensor, point: _Point, squares: Tensor, bad: Tensor) -> Any:
            key = tf.random.experimental.stateless_fold_in(seed, i)
            point, error, failed = _moved(log_prob, point, size)
            direction = _turned(point.direction, size / length, key)
            point = point._replace(direction=direction)
            return i + 1, point, squares + tf.square(error), bad | failed

        value, slope = _value_and_slope(log_prob, position)
        start = _Point(position, memory, value, slope)
        zeros = tf.zeros_like(step_size)
        _, end, squares, bad = tf.while_loop(
            lambda i, *_: i < count,
            body,
            (tf.constant(0), start, zeros, tf.zeros_like(zeros, tf.bool)),
        )
        variance = squares / tf.cast(count, zeros.dtype) / position.shape[-1]
        return Step(
            end.position,
            end.log_prob,
            _quality(variance, bad),
            -end.log_prob,
            bad,
            tf.fill(tf.shape(zeros), _GRADIENTS_PER_STEP * count),
            end.direction,
        )

    def _count(self, length: float, step_size: Tensor) -> Tensor:
        """How many moves of the integrator go so far."""
        most = max(1, 2**self.max_tree_depth // _GRADIENTS_PER_STEP)
        count = tf.math.ceil(length / tf.reduce_min(step_size))
        return tf.cast(tf.clip_by_value(count, 1, most), tf.int32)


def _moved(
    log_prob: Callable[[Tensor], Tensor], point: _Point, size: Tensor
) -> tuple[_Point, Tensor, Tensor]:
    """One move, the energy's error, and where it could not be integrated.

    There chains stay where they are, and the noise gives them another way.
    """
    new, error = _integrated(log_prob, point, size)
    is_good = tf.math.is_finite(error) & tf.math.is_finite(new.log_prob)
    pairs = zip(new, point, strict=True)
    chosen = (tf.where(_like(is_good, a), a, b) for a, b in pairs)
    error = tf.where(is_good, error, tf.zeros_like(error))
    return _Point(*chosen), error, tf.logical_not(is_good)


def _quality(variance: Tensor, is_bad: Tensor) -> Tensor:
    """From 1 for no error of the energy over a half, where it is as wanted."""
    quality = 1 / (1 + variance / _ENERGY_ERROR)
    return tf.where(is_bad, tf.zeros_like(quality), quality)


def _integrated(
    log_prob: Callable[[Tensor], Tensor], point: _Point, size: Tensor
) -> tuple[_Point, Tensor]:
    """One step of the integrator, and the energy's error."""
    position, direction, value, slope = point
    kinetic = tf.zeros_like(value)
    for number, share in enumerate(_KICKS):
        direction, change = _kicked(direction, slope, share * size)
        kinetic += change
        if number < _GRADIENTS_PER_STEP:
            position += 0.5 * size * direction
            new_value, slope = _value_and_slope(log_prob, position)
    error = kinetic - (new_value - value)
    return _Point(position, direction, new_value, slope), error


def _kicked(
    direction: Tensor, slope: Tensor, size: Tensor
) -> tuple[Tensor, Tensor]:
    """The exact motion of the direction in a constant slope.

    Returns:
        the direction, and how much the kinetic energy changes.
    """
    rest = direction.shape[-1] - 1
    steepness = tf.norm(slope, axis=-1, keepdims=True)
    unit = slope / tf.maximum(steepness, 1e-30)
    delta = size * steepness / rest
    along = tf.reduce_sum(unit * direction, axis=-1, keepdims=True)
    zeta = tf.exp(-delta)
    new = unit * (1 - zeta) * (1 + zeta + along * (1 - zeta))
    new += 2 * zeta * direction
    new /= tf.norm(new, axis=-1, keepdims=True)
    growth = tf.math.log((1 + along + (1 - along) * tf.square(zeta)) / 2)
    return new, rest * (delta + growth)[:, 0]


def _turned(direction: Tensor, share: Tensor, seed: Tensor) -> Tensor:
    """The direction with noise, for a move of a share of the length."""
    noise = tf.random.stateless_normal(
        tf.shape(direction), seed, dtype=direction.dtype, alg="philox"
    )
    size = tf.sqrt(tf.math.expm1(2 * share) / direction.shape[-1])
    new = direction + size * noise
    return new / tf.norm(new, axis=-1, keepdims=True)


def _value_and_slope(
    log_prob: Callable[[Tensor], Tensor], position: Tensor
) -> tuple[Tensor, Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(position)
        value = log_prob(position)
    return value, tape.gradient(value, position)


def _like(condition: Tensor, values: Tensor) -> Tensor:
    return condition[:, tf.newaxis] if len(values.shape) == 2 else condition
