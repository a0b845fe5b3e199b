"""Independent Normals whose scales are squares."""

from typing import Any

import tensorflow as tf
from keras import initializers

from tfpbnn import random
from tfpbnn.base import positive, registry
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families.base import IndependentNormal, LocFamily


@registry.register("families")
class SquaredScaleNormal(IndependentNormal, LocFamily):
    """Independent Normals: `w = loc + scale * eps`, `scale = root_scale^2`.

    Scales that begin far below the prior's grow in fewer steps than those of
    `MeanFieldNormal`: a step of an optimizer changes the root of a scale by as
    much as it would change its logarithm, and of small scales the roots lie
    closer together. BLoB has such scales. (1.2e-7 is added to each.)

    Args:
        loc_initializer: default `RandomNormal(stddev=0.1)`.
        root_scale_initializer: default `RandomUniform(0.035, 0.05)`, for scales
            from 0.00125 to 0.0025.
        loc_regularizer: a Keras regularizer, beside the KL.
        loc_constraint: a Keras constraint.

    Example:
    ```python
    layer = tfpbnn.layers.DenseFlipout(
        8, kernel_posterior=tfpbnn.families.SquaredScaleNormal()
    )
    y = layer(x)
    ```

    Reference:
        [Wang et al., 2024](https://arxiv.org/abs/2406.11675)
    """

    def __init__(
        self,
        loc_initializer: Identifier = None,
        root_scale_initializer: Identifier = None,
        loc_regularizer: Identifier = None,
        loc_constraint: Identifier = None,
        **kwargs: Any,
    ):
        super().__init__(
            loc_initializer, loc_regularizer, loc_constraint, **kwargs
        )
        self.root_scale_initializer = initializers.get(
            root_scale_initializer
            or initializers.RandomUniform(0.05 / 2**0.5, 0.05)
        )

    def build(self, shape: Any, loc: Any = None) -> None:
        super().build(shape, loc)
        self.root_scale = self.add_parameter(
            "root_scale", shape, self.root_scale_initializer
        )

    def sample(self, key: Tensor | None = None) -> Tensor:
        noise = self.noise(random.key_or_new(key))
        return tf.convert_to_tensor(self.loc) + noise

    @property
    def scale(self) -> Tensor:
        """The scales of the weights, in the dtype of the variables."""
        root = tf.convert_to_tensor(self.root_scale)
        return positive.SCALE_FLOOR + tf.square(root)

    def get_config(self) -> Config:
        return super().get_config() | {
            "root_scale_initializer": initializers.serialize(
                self.root_scale_initializer
            ),
        }
