"""How far chains go until they have forgotten where they were."""

from typing import NamedTuple

import tensorflow as tf

from tfpbnn.base.types import Tensor

# Neighbours' correlations are limited to this: a window of few steps can't tell
# a larger one from a chain that is still on its way.
_MOST_CORRELATION = 0.9


class Stretches(NamedTuple):
    """Running moments of means over stretches of a path, from an origin.

    A stretch is what one step of a kernel covers, `[C, D]` each but the count.

    Attributes:
        origin: where the first stretch began.
        last: the mean of the last stretch.
        total: of the stretches' means.
        squares: of the squares of these means.
        products: of the products of neighbours' means.
        power: of the mean squares of the points in stretches.
        count: how many stretches, `[C]`.
    """

    origin: Tensor
    last: Tensor
    total: Tensor
    squares: Tensor
    products: Tensor
    power: Tensor
    count: Tensor

    def begun(self, position: Tensor) -> "Stretches":
        """With an origin, if there is none yet."""
        is_first = self.count[:, tf.newaxis] == 0
        return self._replace(origin=tf.where(is_first, position, self.origin))

    def counted(self, mean: Tensor, power: Tensor) -> "Stretches":
        """With one more stretch, from its points' first and second moments.

        Args:
            mean: of the points less the origin, `[C, D]`.
            power: of their squares.
        """
        return Stretches(
            self.origin,
            mean,
            self.total + mean,
            self.squares + tf.square(mean),
            self.products + mean * self.last,
            self.power + power,
            self.count + 1,
        )

    def variance(self) -> Tensor:
        """Of the points, `[C, D]`."""
        count = tf.maximum(self.count, 1)[:, tf.newaxis]
        return self.power / count - tf.square(self.total / count)

    def forgetting(self) -> Tensor:
        """The autocorrelation time in stretches, the mean of directions, `[C]`.

        The variance of a stretch's mean, compared with that of a point, says
        how much points of one stretch repeat each other. Correlations of points
        are taken to decay exponentially: those of stretches that are not
        neighbours then follow from those of neighbours, to within a tenth.
        """
        count = tf.maximum(self.count, 2)[:, tf.newaxis]
        square = tf.square(self.total / count)
        variance = self.squares / count - square
        covariance = self.products / (count - 1) - square
        share = tf.math.divide_no_nan(covariance, variance)
        share = tf.clip_by_value(share, 0, _MOST_CORRELATION)
        within = tf.math.divide_no_nan(variance, self.variance())
        decay = tf.minimum(1.5 * (1 - share), 1)
        return tf.reduce_mean(within * (1 + 2 * share / decay), axis=-1)


def none_yet(position: Tensor) -> Stretches:
    """No stretches of chains at such positions, `[C, D]`."""
    zeros = tf.zeros_like(position)
    none = tf.zeros_like(position[:, 0])
    return Stretches(zeros, zeros, zeros, zeros, zeros, zeros, none)
