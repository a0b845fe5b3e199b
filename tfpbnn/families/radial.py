"""Defines the radial posterior: noise with a direction and a length."""

import functools
import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families.base import ScaleFamily

# E log |r| and the entropy of |r|, for a standard Normal r.
_MEAN_LOG_RADIUS = -0.5 * (0.5772156649015329 + math.log(2.0))
_RADIUS_ENTROPY = 0.5 * math.log(math.pi * math.e / 2.0)


@registry.register("families")
class Radial(ScaleFamily):
    """A posterior of `w = loc + scale * direction * r`, with one length r.

    The direction is uniform on the unit sphere of the whole weight tensor and
    r is one standard Normal. Draws of independent Normals lie on a shell far
    from `loc`, where hardly any probability density is; these are most likely
    near `loc`. With n weights, each has a standard deviation of
    `scale / sqrt(n)`. Weights are uncorrelated but not independent; Flipout,
    which only flips signs, is exact.

    Args:
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: the initializer of `scale`, as in
            `MeanFieldNormal`.
        loc_regularizer: a Keras regularizer, in addition to the KL.
        loc_constraint: a Keras constraint.

    Example:
    ```python
    layer = tfpbnn.layers.DenseFlipout(8, kernel_posterior="radial")
    y = layer(x)
    ```

    Reference:
        [Farquhar et al., 2020](https://arxiv.org/abs/1907.00865)
    """

    sign_symmetric = True

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        super().build(shape, loc)
        self._add_untransformed_scale(shape)

    def noise(self, key: Tensor) -> Tensor:
        direction = self._standard(random.fold(key, 0), self.loc.shape)
        radius = self._standard(random.fold(key, 1), [])
        return self.scale * direction * (radius / tf.norm(direction))

    def variance(self) -> Tensor:
        return tf.square(self.scale) / math.prod(self.loc.shape)

    def entropy(self) -> Tensor:
        """Computes the exact entropy, from length, direction and scales."""
        size = math.prod(self.loc.shape)
        standard = (
            _RADIUS_ENTROPY + _log_sphere(size) + (size - 1) * _MEAN_LOG_RADIUS
        )
        return tf.reduce_sum(tf.math.log(self.scale)) + standard

    def distribution(self) -> Any:
        return _distribution_class()(tf.convert_to_tensor(self.loc), self.scale)


def _log_sphere(size: int) -> float:
    """Computes the logarithm of the surface of the unit sphere."""
    return (
        math.log(2.0) + 0.5 * size * math.log(math.pi) - math.lgamma(size / 2)
    )


@functools.cache
def _distribution_class() -> Any:
    """Makes the class at its first use, when TFP is imported; TFP has none."""

    class Radial(tfp.distributions.Distribution):
        def __init__(self, loc: Tensor, scale: Tensor):
            parameters = {"loc": loc, "scale": scale}
            super().__init__(
                dtype=loc.dtype,
                reparameterization_type=tfp.distributions.NOT_REPARAMETERIZED,
                validate_args=False,
                allow_nan_stats=True,
                parameters=parameters,
                name="Radial",
            )
            self.loc, self.scale = loc, scale

        def _event_shape(self) -> tf.TensorShape:
            return self.loc.shape

        def _batch_shape(self) -> tf.TensorShape:
            return tf.TensorShape([])

        def _mean(self) -> Tensor:
            return self.loc

        def _log_prob(self, value: Tensor) -> Tensor:
            size = self.loc.shape.num_elements()
            axes = list(range(-len(self.loc.shape), 0))
            square = tf.reduce_sum(
                tf.square((value - self.loc) / self.scale), axes
            )
            half_normal = 0.5 * math.log(2 / math.pi) - 0.5 * square
            sphere = _log_sphere(size) + 0.5 * (size - 1) * tf.math.log(square)
            return half_normal - sphere - tf.reduce_sum(tf.math.log(self.scale))

    return Radial
