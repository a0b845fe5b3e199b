"""Microcanonical Langevin dynamics."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor
from tfpbnn.mcmc.kernels.base import (
    Kernel,
    Stage,
    Step,
    Target,
    value_and_slope,
)
from tfpbnn.mcmc.kernels.memory_length import Stretches, none_yet

# The variance of the energy's error of a step, for each dimension, that step
# sizes are adapted to, as in the paper: the bias is of its order.
_ENERGY_ERROR = 5e-4
# McLachlan's integrator of the second order with the least error.
_FIRST = 0.1931833275037836
_KICKS = (_FIRST, 1 - 2 * _FIRST, _FIRST)
_GRADIENTS_PER_STEP = 2
# The power of the step size that the variance of the energy's error goes with.
_ORDER = 6
# Directions are forgotten within this share of the autocorrelation time, as in
# the paper. What few stretches say of it is not relied on, nor what is further
# than a factor of four from what suits a Normal.
_SHARE = 0.4
_FEWEST_STRETCHES, _MOST_CHANGE = 20, 4.0


class _Point(NamedTuple):
    """Where chains are, `[C, D]`, and in which direction they go."""

    position: Tensor
    direction: Tensor
    log_prob: Tensor
    slope: Tensor


class _Memory(NamedTuple):
    """What chains remember from step to step.

    Attributes:
        direction: in which they go, `[C, D]`.
        reach: within how far a direction is forgotten, as a multiple of the
            square root of the sum of all variances, `[C]`.
        stretches: what steps since the last window's end have covered.
    """

    direction: Any
    reach: Any
    stretches: Stretches


class MCLMC(Kernel):
    """Dynamics of constant speed, whose direction is turned a little by noise.

    Each gradient is a move, and none is rejected: so there is a bias, which is
    small where the energy is kept well. It is tuned in three phases: step sizes
    to an error of the energy; then to widths, in units of which directions are
    forgotten within `sqrt(D)`; then this length to the autocorrelation time
    that each window has seen. A step of this kernel goes that far.

    Reference:
        [Robnik et al., 2023](https://arxiv.org/abs/2212.08549); of networks,
        [Sommer et al., 2025](https://arxiv.org/abs/2502.06335)
    """

    def __init__(self, max_tree_depth: int, target_accept: float):
        # Half is where the energy's error is what it is to be; see `_quality`.
        super().__init__(max_tree_depth, 0.5)

    def memory(
        self,
        position: Array,
        view: Callable[[Array], Array],
        generator: np.random.Generator,
    ) -> Any:
        direction = generator.standard_normal(position.shape)
        size = np.linalg.norm(direction, axis=-1, keepdims=True)
        return _Memory(
            (direction / size).astype(position.dtype),
            np.ones_like(position[:, 0]),
            none_yet(tf.constant(position)),
        )

    def carried(self, memory: Any) -> Any:
        stretches = memory.stretches
        # The stretch in units of the window's own widths: these are the new.
        size = math.sqrt(stretches.origin.shape[-1])
        total = tf.reduce_sum(stretches.variance(), axis=-1)
        stretch = memory.reach * size * tf.math.rsqrt(total)
        # Where directions are forgotten so soon that chains diffuse, the time
        # is as much longer: the mean of the logarithms does not overshoot.
        reach = tf.sqrt(
            memory.reach * _SHARE * stretches.forgetting() * stretch
        )
        reach = tf.clip_by_value(reach, 1 / _MOST_CHANGE, _MOST_CHANGE)
        is_known = tf.math.is_finite(reach)
        is_known &= stretches.count >= _FEWEST_STRETCHES
        return _Memory(
            memory.direction,
            tf.where(is_known, reach, memory.reach),
            none_yet(stretches.origin),
        )

    def step(
        self,
        target: Target,
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        stage: Stage,
    ) -> Step:
        length = math.sqrt(position.shape[-1]) * memory.reach
        count = self._count(length, step_size)
        size = step_size[:, tf.newaxis]
        share = size / length[:, tf.newaxis]
        stretches = memory.stretches.begun(position)

        def body(i: Tensor, point: _Point, sums: Any, bad: Tensor) -> Any:
            key = tf.random.experimental.stateless_fold_in(seed, i)
            point, error, failed = _moved(target.log_prob, point, size)
            direction = _turned(point.direction, share, key)
            point = point._replace(direction=direction)
            covered = point.position - stretches.origin
            more = tf.square(error), covered, tf.square(covered)
            sums = tuple(a + b for a, b in zip(sums, more, strict=True))
            return i + 1, point, sums, bad | failed

        value, slope = value_and_slope(target.log_prob, position)
        start = _Point(position, memory.direction, value, slope)
        zeros, nowhere = tf.zeros_like(step_size), tf.zeros_like(position)
        sums = zeros, nowhere, nowhere
        _, end, sums, bad = tf.while_loop(
            lambda i, *_: i < count,
            body,
            (tf.constant(0), start, sums, tf.zeros_like(zeros, tf.bool)),
        )
        error, mean, power = (s / tf.cast(count, zeros.dtype) for s in sums)
        variance = error / position.shape[-1]
        return Step(
            end.position,
            end.log_prob,
            _quality(variance, bad),
            -end.log_prob,
            bad,
            tf.fill(tf.shape(zeros), _GRADIENTS_PER_STEP * count),
            _Memory(
                end.direction, memory.reach, stretches.counted(mean, power)
            ),
        )

    def _count(self, length: Tensor, step_size: Tensor) -> Tensor:
        """How many moves of the integrator go so far."""
        most = max(1, 2**self.max_tree_depth // _GRADIENTS_PER_STEP)
        count = tf.math.ceil(tf.reduce_max(length / step_size))
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
    """From 1 for no error of the energy over a half, where it is as wanted.

    The variance goes with the sixth power of the step size. Its root makes the
    logarithm of the step size go up and down by as much about what is wanted.
    """
    quality = 1 / (1 + (variance / _ENERGY_ERROR) ** (1 / _ORDER))
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
            new_value, slope = value_and_slope(log_prob, position)
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


def _like(condition: Tensor, values: Tensor) -> Tensor:
    return condition[:, tf.newaxis] if len(values.shape) == 2 else condition
