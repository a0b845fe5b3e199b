"""Defines priors with heavier tails than a Normal's."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Config, Tensor
from tfpbnn.families import Family
from tfpbnn.priors.base import Prior, check_scale, scale_for


class ZeroCentered(Prior):
    """Independent weights about zero, with one fixed scale."""

    def __init__(self, scale: float | str = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial_scale = check_scale("scale", scale)

    @property
    def scale(self) -> Tensor:
        value = scale_for(self.initial_scale, self.weight_shape)
        return tf.constant(value, self.parameter_dtype)

    def get_config(self) -> Config:
        return super().get_config() | {"scale": self.initial_scale}


@registry.register("priors")
class Laplace(ZeroCentered):
    """The Laplace prior, which draws small weights to zero.

    Its density is `p(w) = exp(-|w| / scale) / (2 scale)`, its standard
    deviation `sqrt(2) scale`. The KL of Normal posteriors is exact, that of
    others is estimated from draws.

    Args:
        scale: the scale, a positive number, or "he" for `sqrt(2 / fan_in)`.

    Raises:
        ValueError: if `scale` is neither.

    Example:
    ```python
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior="laplace")
    y = layer(x)
    ```

    Reference:
        [Fortuin et al., 2022](https://arxiv.org/abs/2102.06571)
    """

    def distribution(self) -> Any:
        zero = tf.zeros([], self.parameter_dtype)
        laplace = tfp.distributions.Laplace(zero, self.scale)
        return tfp.distributions.Sample(laplace, self.weight_shape)

    def cross_entropies(self, posterior: Family) -> Tensor | None:
        if not (posterior.is_normal and posterior.is_random):
            return None
        loc, variance = posterior.loc_and_variance()
        sd = tf.sqrt(variance)
        ratio = loc / (math.sqrt(2.0) * sd)
        # The mean of a folded Normal.
        size = loc * tf.math.erf(ratio) + sd * math.sqrt(2 / math.pi) * tf.exp(
            -tf.square(ratio)
        )
        scale = self.scale
        return size / scale + tf.math.log(2 * scale)


@registry.register("priors")
class StudentT(ZeroCentered):
    """Student's t prior: most weights are small, a few as large as they like.

    There is no closed-form KL, so the cross entropy is estimated from draws.

    Args:
        df: the degrees of freedom, a positive number; the fewer, the heavier
            are the tails.
        scale: the scale, a positive number, or "he" for `sqrt(2 / fan_in)`.

    Raises:
        ValueError: if `df` or `scale` is not positive.

    Example:
    ```python
    prior = tfpbnn.priors.StudentT(df=3.0, scale="he")
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior=prior)
    y = layer(x)
    ```

    Reference:
        [Fortuin et al., 2022](https://arxiv.org/abs/2102.06571)
    """

    def __init__(
        self, df: float = 3.0, scale: float | str = 1.0, **kwargs: Any
    ):
        super().__init__(scale, **kwargs)
        self.df = checks.positive_number("df", df)

    def distribution(self) -> Any:
        zero = tf.zeros([], self.parameter_dtype)
        student = tfp.distributions.StudentT(self.df, zero, self.scale)
        return tfp.distributions.Sample(student, self.weight_shape)

    def get_config(self) -> Config:
        return super().get_config() | {"df": self.df}
