"""Sets initial scales for deep networks."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, positive, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.families.mean_field_normal import MeanFieldNormal


@registry.register("families")
class HeScale(keras.initializers.Initializer):
    """An initializer of scales at `fraction * sqrt(2 / fan_in)`.

    Use it as an `untransformed_scale_initializer`. The noise of a unit's input
    is then a small part of its signal in layers of any width, as deep networks
    need. Fan-in is defined as in Keras's initializers.

    Args:
        fraction: the initial scales, relative to He's standard deviation; a
            positive number.

    Raises:
        ValueError: if `fraction` is not a positive number.

    Example:
    ```python
    posterior = tfpbnn.families.LowRankNormal(
        loc_initializer="he_normal",
        untransformed_scale_initializer=tfpbnn.families.HeScale(0.05),
    )
    ```

    Reference:
        [He et al., 2015](https://arxiv.org/abs/1502.01852)
    """

    def __init__(self, fraction: float = 0.1):
        self.fraction = checks.positive_number("fraction", fraction)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        dtype = dtype or keras.config.floatx()
        scale = tf.constant(self.fraction * positive.he(tuple(shape)), dtype)
        return tf.fill(shape, positive.untransformed(scale))

    def get_config(self) -> Config:
        return {"fraction": self.fraction}


def he_normal() -> MeanFieldNormal:
    """Makes independent Normals with initial values for deep ReLU networks.

    `loc` starts like Keras's `HeNormal`, and scales start at a tenth of its
    standard deviation (`HeScale`). Its name is `kernel_posterior="he_normal"`,
    which goes with `kernel_prior="he_normal"`.
    """
    return MeanFieldNormal(
        loc_initializer="he_normal", untransformed_scale_initializer=HeScale()
    )
