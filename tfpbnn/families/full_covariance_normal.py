"""Defines a Normal with any covariance, for small kernels."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families.base import NORMAL_ENTROPY, ScaleFamily, reshaped
from tfpbnn.families.cholesky import CholeskyFactor

# Two million variables; beyond, other families do better with as many.
MAX_SIZE = 2048


@registry.register("families")
class FullCovarianceNormal(ScaleFamily):
    """A Normal with covariance `factor factor^T`, for up to 2,048 weights.

    `w = loc + factor eps` with a triangular factor can have every correlation,
    as the exact posterior of a linear regression does. There are `n (n + 3) /
    2` variables for n weights, and a draw takes `n^2` steps.

    Args:
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: the initializer of standard
            deviations, as in `MeanFieldNormal`; weights are uncorrelated at
            the start.
        loc_regularizer: a Keras regularizer, in addition to the KL.
        loc_constraint: a Keras constraint.

    Raises:
        ValueError: if it is built for more than 2,048 weights.

    Example:
    ```python
    layer = tfpbnn.layers.DenseReparameterization(
        8, kernel_posterior="full_covariance_normal"
    )
    y = layer(x)
    ```
    """

    is_normal = True

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        size = math.prod(shape)
        if size > MAX_SIZE:
            raise ValueError(
                f"`FullCovarianceNormal` is for up to {MAX_SIZE} weights. "
                f"Received: shape={tuple(shape)}, {size} weights. Use "
                "`LowRankNormal` or `MatrixNormal`."
            )
        super().build(shape, loc)

        def start(_: Any, dtype: Any) -> Tensor:
            return tf.reshape(self._initial_scale(shape, dtype), [-1])

        self.factor = CholeskyFactor(self, "factor", size, start)

    def noise(self, key: Tensor) -> Tensor:
        standard = self._standard(key, [self.factor.size])
        noise = tf.linalg.matvec(self.factor.matrix(), standard)
        return tf.reshape(noise, self.loc.shape)

    def variance(self) -> Tensor:
        return tf.reshape(self.factor.variance(), self.loc.shape)

    @property
    def scale(self) -> Tensor:
        return tf.sqrt(self.variance())

    def entropy(self) -> Tensor:
        return self.factor.size * NORMAL_ENTROPY + self.factor.log_determinant()

    def distribution(self) -> Any:
        flat = tfp.distributions.MultivariateNormalTriL(
            tf.reshape(tf.convert_to_tensor(self.loc), [-1]),
            self.factor.matrix(),
        )
        return reshaped(flat, self.loc.shape)
