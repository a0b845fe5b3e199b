"""Defines a mixture of a wide and a narrow Normal."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Config
from tfpbnn.priors.base import Prior


@registry.register("priors")
class ScaleMixture(Prior):
    """A mixture of two Normals about zero: most weights small, some large.

    `p(w) = pi N(w; 0, scale1^2) + (1 - pi) N(w; 0, scale2^2)`, the continuous
    spike and slab. It has no closed-form KL: the cross entropy is estimated
    from draws.

    Args:
        pi: the weight of the first component, between 0 and 1.
        scale1: the standard deviation of the first component.
        scale2: the standard deviation of the second component, usually much
            smaller.

    Raises:
        ValueError: if `pi` is outside of (0, 1) or a scale is not positive.

    Example:
    ```python
    prior = tfpbnn.priors.ScaleMixture(pi=0.25, scale1=1.0, scale2=0.01)
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior=prior)
    y = layer(x)
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424), section 3.3,
        whose ranges are pi in {1/4, 1/2, 3/4}, -log scale1 in {0, 1, 2} and
        -log scale2 in {6, 7, 8}.
    """

    def __init__(
        self,
        pi: float = 0.5,
        scale1: float = 1.0,
        scale2: float = math.exp(-6.0),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pi = checks.open_fraction("pi", pi)
        self.scale1 = checks.positive_number("scale1", scale1)
        self.scale2 = checks.positive_number("scale2", scale2)

    def distribution(self) -> Any:
        dtype = self.parameter_dtype
        mixture = tfp.distributions.MixtureSameFamily(
            tfp.distributions.Categorical(
                probs=tf.constant([self.pi, 1 - self.pi], dtype)
            ),
            tfp.distributions.Normal(
                tf.zeros([2], dtype),
                tf.constant([self.scale1, self.scale2], dtype),
            ),
        )
        return tfp.distributions.Sample(mixture, self.weight_shape)

    def get_config(self) -> Config:
        return super().get_config() | {
            "pi": self.pi,
            "scale1": self.scale1,
            "scale2": self.scale2,
        }
