"""Defines a posterior that is a single point."""

from typing import Any

import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families.base import LocFamily


@registry.register("families")
class PointEstimate(LocFamily):
    """A single point, a delta: an ordinary weight, without uncertainty.

    With a prior, its divergence is the negative log density of the prior at
    the point, so that the point is a maximum-a-posteriori estimate.

    Args:
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        loc_regularizer: a Keras regularizer.
        loc_constraint: a Keras constraint.

    Example:
    ```python
    layer = tfpbnn.layers.DenseFlipout(
        8, kernel_posterior="delta", kernel_prior="laplace"
    )
    y = layer(x)
    ```
    """

    is_random = False
    is_normal = True
    independent_normal = True
    sign_symmetric = True

    def sample(self, key: Tensor | None = None) -> Tensor:
        return tf.convert_to_tensor(self.loc)

    def variance(self) -> Tensor:
        return tf.zeros_like(tf.convert_to_tensor(self.loc))

    def entropy(self) -> Tensor:
        return tf.zeros([], self.parameter_dtype)

    def distribution(self) -> Any:
        loc = tf.convert_to_tensor(self.loc)
        point = tfp.distributions.Deterministic(loc)
        return tfp.distributions.Independent(point, len(loc.shape))
