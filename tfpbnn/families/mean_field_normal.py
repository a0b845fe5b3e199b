"""Defines independent Normals."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import constraints, regularizers

from tfpbnn import fused, random
from tfpbnn.base import registry
from tfpbnn.base.types import Array, Config, Identifier, Tensor
from tfpbnn.families.base import IndependentNormal, ScaleFamily

# An untransformed scale of which only the scale's floor, 1.2e-7, is left.
_SILENT = -50.0


@registry.register("families")
class MeanFieldNormal(IndependentNormal, ScaleFamily):
    """Independent Normals, `w = loc + scale * eps`, with a scale per weight.

    `scale = 1.2e-7 + softplus(untransformed_scale)`. The defaults are those of
    TFP's `default_mean_field_normal_fn`: scales start at about 0.0486.

    Args:
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: the initializer of
            `untransformed_scale`; None for
            `RandomNormal(mean=-3.0, stddev=0.1)`.
        loc_regularizer, untransformed_scale_regularizer: Keras regularizers,
            in addition to the KL.
        loc_constraint, untransformed_scale_constraint: Keras constraints.

    Example:
    ```python
    small = keras.initializers.Constant(-5.0)       # scales start at 0.0067
    layer = tfpbnn.layers.DenseFlipout(
        8,
        kernel_posterior=tfpbnn.families.MeanFieldNormal(
            untransformed_scale_initializer=small
        ),
    )
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    def __init__(
        self,
        loc_initializer: Identifier = None,
        untransformed_scale_initializer: Identifier = None,
        loc_regularizer: Identifier = None,
        untransformed_scale_regularizer: Identifier = None,
        loc_constraint: Identifier = None,
        untransformed_scale_constraint: Identifier = None,
        **kwargs: Any,
    ):
        super().__init__(
            loc_initializer,
            untransformed_scale_initializer,
            loc_regularizer,
            loc_constraint,
            **kwargs,
        )
        self.untransformed_scale_regularizer = regularizers.get(
            untransformed_scale_regularizer
        )
        self.untransformed_scale_constraint = constraints.get(
            untransformed_scale_constraint
        )

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        super().build(shape, loc)
        self._add_untransformed_scale(
            shape,
            regularizer=self.untransformed_scale_regularizer,
            constraint=self.untransformed_scale_constraint,
        )

    def _parameters(self) -> tuple[Tensor, Tensor]:
        return (
            tf.convert_to_tensor(self.loc),
            tf.convert_to_tensor(self.untransformed_scale),
        )

    def sample(self, key: Tensor | None = None) -> Tensor:
        key = random.key_or_new(key)
        loc, untransformed = self._parameters()
        if self.has_own_draws or not fused.is_enabled(untransformed):
            return loc + self.noise(key)
        return fused.normal_sample(loc, untransformed, key)

    def prune(self, keep: Array) -> None:
        loc, untransformed = self._parameters()
        self.loc.assign(tf.where(keep, loc, 0))
        self.untransformed_scale.assign(tf.where(keep, untransformed, _SILENT))

    def loc_and_variance(self) -> tuple[Tensor, Tensor]:
        loc, untransformed = self._parameters()
        if self.has_own_draws or not fused.is_enabled(untransformed):
            return loc, self.variance()
        return loc, fused.normal_variance(untransformed)

    def kl_to_normal(self, loc: Tensor, scale: Tensor) -> Tensor | None:
        own, untransformed = self._parameters()
        if self.has_own_draws or not fused.applies(untransformed):
            return None
        kl = fused.normal_kl(own - loc, untransformed, 1 / tf.square(scale))
        return kl + self._size() * (tf.math.log(scale) - 0.5)

    def sample_and_kl(
        self, key: Tensor, scale: float | None
    ) -> tuple[Tensor, Tensor | None]:
        loc, untransformed = self._parameters()
        if self.has_own_draws or not fused.is_enabled(untransformed):
            return super().sample_and_kl(key, scale)
        draw, kl = fused.normal_sample_and_kl(
            loc, untransformed, key, _precision(scale)
        )
        return draw, self._whole(kl, scale)

    def noise_and_kl(
        self, key: Tensor, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        loc, untransformed = self._parameters()
        if self.has_own_draws or not fused.is_enabled(untransformed):
            return super().noise_and_kl(key, scale)
        loc, noise, kl = fused.normal_noise_and_kl(
            loc, untransformed, key, _precision(scale)
        )
        return loc, noise, self._whole(kl, scale)

    def variance_and_kl(
        self, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        loc, untransformed = self._parameters()
        if self.has_own_draws or not fused.is_enabled(untransformed):
            return super().variance_and_kl(scale)
        loc, variance, kl = fused.normal_variance_and_kl(
            loc, untransformed, _precision(scale)
        )
        return loc, variance, self._whole(kl, scale)

    def _whole(self, kl: Tensor, scale: float | None) -> Tensor | None:
        """Adds the constants to the KL of a pass; None without a scale."""
        if scale is None:
            return None
        return kl + self._size() * (math.log(scale) - 0.5)

    def _size(self) -> float:
        return float(math.prod(self.loc.shape))

    def get_config(self) -> Config:
        return super().get_config() | {
            "untransformed_scale_regularizer": regularizers.serialize(
                self.untransformed_scale_regularizer
            ),
            "untransformed_scale_constraint": constraints.serialize(
                self.untransformed_scale_constraint
            ),
        }


def _precision(scale: float | None) -> Tensor:
    return tf.constant(0.0 if scale is None else scale**-2, tf.float32)
