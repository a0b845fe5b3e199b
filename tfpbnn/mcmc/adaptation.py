"""What warm-up learns: step sizes, and how wide each direction is.

Stan's schedule: a beginning that only moves, windows of doubling length at the
end of each of which the widths are those that the window has seen, and an end
for the step size alone.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor

_BEGINNING, _WINDOW, _END = 75, 25, 50
# Of dual averaging, as in Hoffman and Gelman, 2014.
_GAMMA, _OFFSET, _KAPPA = 0.05, 10.0, 0.75
# How many times larger step sizes it is drawn to when it begins.
_BOLDNESS = 10.0
# Variances of few draws are drawn to this one, as if it had been seen 5 times.
_SMALL, _COUNT = 1e-3, 5.0

ADAPTS, COUNTS, ENDS = range(3)


def schedule(num_warmup: int, num_steps: int) -> Array:
    """What each step does, `[num_warmup + num_steps, 3]`, of booleans.

    Whether the step size is adapted; whether the position counts for the
    widths; and whether a window ends with it.
    """
    flags: Array = np.zeros((num_warmup + num_steps, 3), bool)
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


class Widths(NamedTuple):
    """Running moments of a window, and the widths that steps are made with.

    They are of G groups of chains that learn together: each chain by itself,
    or all in one group.

    Attributes:
        scale: standard deviations `[G, D]`, or factors of covariances
            `[G, D, D]`, lower triangular.
        mean: of each chain's positions in the window, `[C, D]`.
        squares: sums of squared deviations, or of their products.
        count: of each chain's positions in the window, `[C]`.
    """

    scale: Tensor
    mean: Tensor
    squares: Tensor
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
            columns = tf.linalg.matrix_transpose(self._grouped(vector))
            found = tf.linalg.triangular_solve(self.scale, columns)
            found = tf.linalg.matrix_transpose(found)
            return tf.reshape(found, tf.shape(vector))
        return vector / self.scale

    def counted(self, vector: Tensor) -> "Widths":
        """With one more position of each chain in the window, `[C, D]`.

        Deviations are from each chain's own mean: chains of a group may be at
        other modes, with the same widths, as networks are whose units are in
        another order.
        """
        count = self.count + 1
        change = vector - self.mean
        mean = self.mean + change / count[:, tf.newaxis]
        change, left = self._grouped(change), self._grouped(vector - mean)
        if self.is_dense:
            square = tf.matmul(change, left, transpose_a=True)
        else:
            square = tf.reduce_sum(change * left, axis=1)
        return Widths(self.scale, mean, self.squares + square, count)

    def ended(self) -> "Widths":
        """The window's widths, and a new window."""
        chains, count = self._group_size, self.count[0]
        moment = self.squares / (chains * tf.maximum(count - 1, 1))
        share = chains * count / (chains * count + _COUNT)
        small = tf.constant(_SMALL, moment.dtype)
        if self.is_dense:
            eye = tf.eye(moment.shape[-1], dtype=moment.dtype)
            scale = tf.linalg.cholesky(
                share * moment + (1 - share) * small * eye
            )
        else:
            scale = tf.sqrt(share * moment + (1 - share) * small)
        return start(scale, self.mean.shape[0])

    @property
    def _group_size(self) -> int:
        return self.mean.shape[0] // self.scale.shape[0]

    def _grouped(self, vector: Tensor) -> Tensor:
        """From `[C, D]` to `[G, C / G, D]`."""
        return tf.reshape(vector, [-1, self._group_size, vector.shape[-1]])


def start(scale: Tensor, chains: int) -> Widths:
    """An empty window of so many chains, with these widths."""
    mean = tf.zeros([chains, scale.shape[-1]], scale.dtype)
    return Widths(scale, mean, tf.zeros_like(scale), tf.zeros_like(mean[:, 0]))
