"""What warm-up learns: step sizes, and how wide each direction is.

Stan's schedule: a beginning that only moves, windows of doubling length at the
end of each of which the widths are those that the window has seen, and an end
for the step size alone.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor

_BEGINNING, _WINDOW, _END = 75, 25, 50
# Of dual averaging (Hoffman and Gelman, 2014), but calmer: with their 0.05 and
# 10 step sizes swing by half of their size, for which the acceptance of their
# mean is well above what was asked for (0.91 for 0.8 in networks).
_GAMMA, _OFFSET, _KAPPA = 0.1, 10.0, 0.75
# How many times larger step sizes it is drawn to when it begins.
_BOLDNESS = 3.0
# Variances of few draws are drawn to this one, as if it had been seen 5 times.
_SMALL, _COUNT = 1e-3, 5.0

ADAPTS, COUNTS, ENDS, IS_EARLY = range(4)


def schedule(num_warmup: int, num_steps: int) -> Array:
    """What each step does, `[num_warmup + num_steps, 4]`, of booleans.

    Whether the step size is adapted; whether the position counts for the
    widths; whether a window ends with it; and whether none has ended yet.
    """
    flags: Array = np.zeros((num_warmup + num_steps, 4), bool)
    flags[:num_warmup, ADAPTS] = True
    first, last = _BEGINNING, _END
    if num_warmup < _BEGINNING + _WINDOW + _END:
        first, last = int(0.15 * num_warmup), int(0.1 * num_warmup)
    start, size = first, _WINDOW
    stop = num_warmup - last
    while start < stop:
        # The last window takes what would be too little for another one.
        end = stop if start + 3 * size > stop else start + size
        flags[start:end, COUNTS] = True
        flags[end - 1, ENDS] = True
        start, size = end, 2 * size
    flags[: min(first + _WINDOW, stop), IS_EARLY] = True
    return flags


class StepSize(NamedTuple):
    """Dual averaging of log step sizes, of each chain: `[C]` each.

    Attributes:
        log: the logarithm of the step size to be tried next.
        average: of those that were tried, which is what is sampled with.
        error: the mean of wanted less found acceptance.
        center: where the logarithms are drawn to.
        count: of steps since the beginning.
    """

    log: Tensor
    average: Tensor
    error: Tensor
    center: Tensor
    count: Tensor


def start_at(log_step_size: Tensor) -> StepSize:
    """Dual averaging anew, from the logarithms of these step sizes, `[C]`."""
    zeros = tf.zeros_like(log_step_size)
    center = log_step_size + tf.cast(np.log(_BOLDNESS), zeros.dtype)
    return StepSize(log_step_size, log_step_size, zeros, center, zeros)


def updated(state: StepSize, acceptance: Tensor, target: float) -> StepSize:
    """After a step with such probabilities of acceptance."""
    count = state.count + 1
    weight = 1 / (count + _OFFSET)
    error = (1 - weight) * state.error + weight * (target - acceptance)
    log = state.center - tf.sqrt(count) / _GAMMA * error
    share = count**-_KAPPA
    average = share * log + (1 - share) * state.average
    return StepSize(log, average, error, state.center, count)


class Moments(NamedTuple):
    """Running moments of G groups of chains: each by itself, or all in one.

    Attributes:
        mean: of each chain's values, `[C, D]`.
        squares: sums of squared deviations, `[G, D]`, or of their products,
            `[G, D, D]`.
    """

    mean: Tensor
    squares: Tensor

    def counted(self, value: Tensor, count: Tensor) -> "Moments":
        """With one more value of each chain, `[C, D]`; it is the `count`th.

        Deviations are from each chain's own mean: chains of a group may be at
        other modes, with the same widths, as networks are whose units are in
        another order.
        """
        change = value - self.mean
        mean = self.mean + change / count[:, tf.newaxis]
        change, left = self._grouped(change), self._grouped(value - mean)
        if len(self.squares.shape) == 3:
            square = tf.matmul(change, left, transpose_a=True)
        else:
            square = tf.reduce_sum(change * left, axis=1)
        return Moments(mean, self.squares + square)

    def variance(self, count: Tensor) -> Tensor:
        """Of as many values of each chain: variances, or covariances."""
        chains = self.mean.shape[0] // self.squares.shape[0]
        return self.squares / (chains * tf.maximum(count[0] - 1, 1))

    def _grouped(self, value: Tensor) -> Tensor:
        """From `[C, D]` to `[G, C / G, D]`."""
        return grouped(value, self.squares.shape[0])


def grouped(value: Tensor, groups: int) -> Tensor:
    """From `[C, D]` to `[G, C / G, D]`."""
    return tf.reshape(value, [groups, -1, value.shape[-1]])


class Widths(NamedTuple):
    """A window of positions, and the widths that steps are made with.

    They are of G groups of chains that learn together: each chain by itself,
    or all in one group.

    Attributes:
        scale: standard deviations `[G, D]`, or factors of covariances
            `[G, D, D]`, lower triangular.
        places: of the window's positions as vectors.
        slopes: of the gradients there by whitened positions; () where widths
            are learned from positions alone.
        count: of each chain's positions in the window, `[C]`.
    """

    scale: Tensor
    places: Moments
    slopes: Any
    count: Tensor

    @property
    def is_dense(self) -> bool:
        return len(self.scale.shape) == 3

    def out(self, position: Tensor) -> Tensor:
        """From whitened positions `[C, D]` to vectors."""
        if self.is_dense:
            return tf.linalg.matvec(self.scale, position)
        return self.scale * position

    def into(self, vector: Tensor) -> Tensor:
        """From vectors `[C, D]` to whitened positions."""
        if self.is_dense:
            # Chains of a group are columns of one right-hand side.
            columns = grouped(vector, self.scale.shape[0])
            found = tf.linalg.triangular_solve(
                self.scale, tf.linalg.matrix_transpose(columns)
            )
            found = tf.linalg.matrix_transpose(found)
            return tf.reshape(found, tf.shape(vector))
        return vector / self.scale

    def counted(self, vector: Tensor, slope: Any) -> "Widths":
        """With one more position of each chain in the window.

        Args:
            vector: the positions as vectors, `[C, D]`.
            slope: the gradients there by whitened positions, if they count.
        """
        count = self.count + 1
        slopes = self.slopes and self.slopes.counted(slope, count)
        places = self.places.counted(vector, count)
        return Widths(self.scale, places, slopes, count)

    def ended(self) -> "Widths":
        """The window's widths, and a new window."""
        chains = self.places.mean.shape[0]
        return start(self._learned(), chains, self.slopes != ())

    def _learned(self) -> Tensor:
        moment = self.places.variance(self.count)
        if self.slopes:
            return self._balanced(moment)
        groups = self.scale.shape[0]
        total = self.count[0] * self.places.mean.shape[0] / groups
        share = total / (total + _COUNT)
        small = tf.constant(_SMALL, moment.dtype)
        if self.is_dense:
            eye = tf.eye(moment.shape[-1], dtype=moment.dtype)
            return tf.linalg.cholesky(
                share * moment + (1 - share) * small * eye
            )
        return tf.sqrt(share * moment + (1 - share) * small)

    def _balanced(self, variance: Tensor) -> Tensor:
        """Widths in units of which positions vary as much as gradients do.

        Of a Normal whose directions are independent they are exact after two
        draws, however much these are alike. Where either did not vary, as in
        chains that have not moved, nothing was learned.
        """
        steepness = self.slopes.variance(self.count)
        found = tf.sqrt(self.scale * tf.sqrt(variance / steepness))
        is_good = tf.math.is_finite(found) & (found > 0)
        return tf.where(is_good, found, self.scale)


def start(scale: Tensor, chains: int, with_slopes: bool) -> Widths:
    """An empty window of so many chains, with these widths.

    Args:
        scale: the widths.
        chains: how many chains there are.
        with_slopes: whether widths are learned from gradients too: dense ones
            are not.
    """
    mean = tf.zeros([chains, scale.shape[-1]], scale.dtype)
    empty = Moments(mean, tf.zeros_like(scale))
    slopes = empty if with_slopes and len(scale.shape) == 2 else ()
    return Widths(scale, empty, slopes, tf.zeros_like(mean[:, 0]))
