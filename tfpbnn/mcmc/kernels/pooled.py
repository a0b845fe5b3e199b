"""Hamiltonian Monte Carlo whose path length is learned across chains."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor
from tfpbnn.mcmc.kernels.base import Kernel, Stage, Step, Target
from tfpbnn.mcmc.kernels.paths import Path, steps_along, walked

# The length of paths at first, and the least: a turn in directions that are as
# wide as their unit, of which each step goes a part; some are wider. While
# chains mix slowly their means follow them, and the criterion would have
# shorter ones.
_LENGTH = 2 * math.pi
# Of Adam without momentum, on the logarithm of the length. A step of the
# optimizer changes the length by no more than half an octave.
_RATE, _BETA_2, _MOST_CHANGE = 0.025, 0.95, 0.35
# Running means are of about the last fourth of the steps up to now.
_FORGETS = 4.0


class Lengths(NamedTuple):
    """How long paths are, which all chains have learned together. Scalars.

    Attributes:
        log: the logarithm of the length to be tried next.
        average: of those that were tried, which is what is sampled with.
        squares: the running mean of squared slopes.
        learned: how many steps were learned from.
        step: how many steps were made.
    """

    log: Tensor
    average: Tensor
    squares: Tensor
    learned: Tensor
    step: Tensor


class PooledHMC(Kernel):
    """All chains go paths of one length, which grows or shrinks as a criterion.

    Paths have the same number of steps in all chains, so none waits for
    another. Step sizes and widths are each chain's own: in networks, chains are
    at different modes, and one step size for all would be that of the steepest.
    The length is drawn anew for each step, between 0 and the learned one, by a
    Halton sequence. The criterion says how well a step mixes; the derivative by
    the length says where to go with it.
    """

    is_pooled: ClassVar[bool] = True
    learns_from_slopes: ClassVar[bool] = True

    def memory(
        self,
        position: Array,
        view: Callable[[Array], Array],
        generator: np.random.Generator,
    ) -> Any:
        zero = np.zeros([], position.dtype)
        log = np.full_like(zero, math.log(_LENGTH))
        lengths = Lengths(log, log, zero, zero, zero)
        center = view(position)
        return lengths, center, self._direction(center)

    def step(
        self,
        target: Target,
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        stage: Stage,
    ) -> Step:
        lengths, center, direction = memory
        length = tf.exp(tf.where(stage.adapts, lengths.log, lengths.average))
        length *= _halton(lengths.step)
        most = tf.cast(
            2
            ** tf.where(stage.is_early, self.early_depth, self.max_tree_depth),
            position.dtype,
        )
        typical = tf.exp(tf.reduce_mean(tf.math.log(step_size)))
        count = steps_along(length, typical, most)
        step, path = walked(target.log_prob, position, step_size, count, seed)
        # What is learned is about the path that was gone.
        length = tf.cast(count, position.dtype) * step_size
        share = 1 / (1 + lengths.learned / _FORGETS)
        change = target.view(step.position) - center
        tried = (
            _updated(
                lengths,
                self._slope(
                    target.view,
                    path,
                    center,
                    step.acceptance,
                    length,
                    direction,
                ),
            ),
            center + share * change,
            self._turned(direction, change, share),
        )
        lengths, center, direction = keras.tree.map_structure(
            lambda yes, no: tf.where(stage.adapts, yes, no),
            tried,
            (lengths, center, direction),
        )
        lengths = lengths._replace(step=lengths.step + 1)
        return step._replace(memory=(lengths, center, direction))

    def _slope(
        self,
        view: Callable[[Tensor], Tensor],
        path: Path,
        center: Tensor,
        accept: Tensor,
        length: Tensor,
        direction: Any,
    ) -> Tensor:
        """The derivative of the criterion by the length, of all chains.

        It is that of predictions: weights of networks drift for ever along
        directions that no prediction depends on, and paths would grow as long
        as they may be. Predictions are taken from each chain's own mean up to
        now, so that chains in other modes are not taken to be far off.
        """
        with tf.GradientTape() as tape:
            more = tf.zeros_like(accept)
            tape.watch(more)
            end = path.end + more[:, tf.newaxis] * path.velocity
            criterion = self._criterion(
                view(path.start) - center,
                view(end) - center,
                accept,
                length + more,
                direction,
            )
        slopes = tape.gradient(criterion, more) * length
        is_good = tf.math.is_finite(slopes) & (accept > 1e-4)
        slopes = tf.where(is_good, slopes, tf.zeros_like(slopes))
        total = tf.reduce_sum(accept)
        return tf.math.divide_no_nan(tf.reduce_sum(slopes * accept), total)

    @abc.abstractmethod
    def _criterion(
        self,
        start: Tensor,
        end: Tensor,
        accept: Tensor,
        length: Tensor,
        direction: Any,
    ) -> Tensor:
        """How well paths mix, `[C]`; more is better."""

    def _direction(self, view: Array) -> Any:
        """What the criterion remembers, at first."""
        return ()

    def _turned(self, direction: Any, view: Tensor, share: Tensor) -> Any:
        """What the criterion remembers after a step, with such a weight."""
        return direction


def _updated(lengths: Lengths, slope: Tensor) -> Lengths:
    """After a step with such a slope."""
    learned = lengths.learned + 1
    squares = _BETA_2 * lengths.squares + (1 - _BETA_2) * tf.square(slope)
    size = tf.sqrt(squares / (1 - _BETA_2**learned))
    change = _RATE * tf.math.divide_no_nan(slope, size)
    log = lengths.log + tf.clip_by_value(change, -_MOST_CHANGE, _MOST_CHANGE)
    log = tf.maximum(log, math.log(_LENGTH))
    share = tf.math.rsqrt(learned)
    average = share * log + (1 - share) * lengths.average
    return Lengths(log, average, squares, learned, lengths.step)


def _halton(step: Tensor) -> Tensor:
    """The numbers of van der Corput's sequence, between 0 and 1."""
    powers = 2.0 ** tf.range(20, dtype=step.dtype)
    bits = tf.math.floormod((step + 1) // powers, 2)
    return tf.reduce_sum(bits * 0.5 / powers)
