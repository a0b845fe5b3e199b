"""Defines Normal priors."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, positive, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Config, Shape, Tensor
from tfpbnn.families import Family
from tfpbnn.priors.base import (
    Prior,
    check_axis,
    check_scale,
    normal_cross_entropies,
    scale_for,
    scales_shape,
)
from tfpbnn.priors.hyperpriors import HalfCauchy, Hyperprior


class NormalPrior(Prior):
    """Independent Normals, whose means and scales subclasses define.

    Attributes:
        fixed_scale: the one scale of all weights, if it is a constant.
    """

    fixed_scale: float | None = None
    loc: Any
    scale: Any

    def distribution(self) -> Any:
        # Not by tfd.BatchBroadcast, which has no closed-form KL in TFP 0.25.
        normal = tfp.distributions.Normal(
            tf.broadcast_to(self.loc, self.weight_shape),
            tf.broadcast_to(self.scale, self.weight_shape),
        )
        return tfp.distributions.Independent(normal, len(self.weight_shape))

    def one_scale_normal(self) -> tuple[Tensor, Tensor] | None:
        loc, scale = tf.convert_to_tensor(self.loc), self.scale
        return None if scale.shape.rank else (loc, scale)

    def cross_entropies(self, posterior: Family) -> Tensor | None:
        loc, scale = tf.convert_to_tensor(self.loc), self.scale
        return normal_cross_entropies(
            posterior, loc, tf.math.log(scale), 1 / tf.square(scale)
        )


@registry.register("priors")
class Normal(NormalPrior):
    """Independent Normals with one mean, and scales given or learned.

    Args:
        loc: the mean, a number.
        scale: the standard deviation, a positive number, or "he" for
            `sqrt(2 / fan_in)`, with which deep ReLU networks are functions of
            the same size at any width.
        learnable_scale: whether the scale is learned with the posterior
            (empirical Bayes); `scale` is then its initial value.
        axis: the axes of the weight along which learned scales differ. None
            learns one per weight tensor, -1 one per output unit (of dense and
            convolutional kernels), 0 one per input of a dense layer (automatic
            relevance determination).

    Raises:
        ValueError: if `loc` is not finite, `scale` is not positive, or `axis`
            is given for a scale that is not learned; when built, if the weight
            has no such axis.

    Example:
    ```python
    wide = tfpbnn.priors.Normal(scale=3.0)
    learned = tfpbnn.priors.Normal(scale=1.0, learnable_scale=True)
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior=learned)
    ```
    """

    def __init__(
        self,
        loc: float = 0.0,
        scale: float | str = 1.0,
        learnable_scale: bool = False,
        axis: int | tuple[int, ...] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.initial_loc = checks.finite("loc", loc)
        self.initial_scale = check_scale("scale", scale)
        self.learnable_scale = bool(learnable_scale)
        self.axis = check_axis(axis)
        if axis is not None and not learnable_scale:
            raise ValueError(
                "`axis` says along which axes learned scales differ: it needs "
                f"`learnable_scale=True`. Received: axis={axis!r}"
            )

    def build(self, shape: Any) -> None:
        super().build(shape)
        start = scale_for(self.initial_scale, self.weight_shape)
        if not self.learnable_scale:
            self.fixed_scale = start
            return
        self.untransformed_scale = self.add_parameter(
            "untransformed_scale",
            scales_shape(self.weight_shape, self.axis),
            lambda shape, dtype: tf.fill(
                shape, positive.untransformed(tf.constant(start, dtype))
            ),
        )

    @property
    def loc(self) -> Tensor:
        return tf.constant(self.initial_loc, self.parameter_dtype)

    @property
    def scale(self) -> Tensor:
        if self.learnable_scale:
            raw = tf.convert_to_tensor(self.untransformed_scale)
            return positive.positive(raw)
        return tf.constant(self.fixed_scale, self.parameter_dtype)

    def scale_about_zero(self) -> float | None:
        return self.fixed_scale if self.initial_loc == 0 else None

    def hyperpriors(self) -> dict[str, tuple[Shape, Hyperprior]]:
        # Only one best scale is learned, which needs no prior. To be drawn it
        # needs one: without, the density has no bound where it goes to zero.
        if not self.learnable_scale:
            return {}
        shape = tuple(self.untransformed_scale.shape)
        start = scale_for(self.initial_scale, self.weight_shape)
        return {"scale": (shape, HalfCauchy(start))}

    def learned_scales(self) -> dict[str, tuple[Tensor, Tensor]]:
        if not self.learnable_scale:
            return {}
        log_scale = tf.math.log(self.scale)
        return {"scale": (log_scale, tf.zeros_like(log_scale))}

    def scale_given(self, log_scales: Mapping[str, Tensor]) -> Tensor:
        return tf.exp(log_scales["scale"])

    def get_config(self) -> Config:
        return super().get_config() | {
            "loc": self.initial_loc,
            "scale": self.initial_scale,
            "learnable_scale": self.learnable_scale,
            "axis": self.axis,
        }


def he_normal() -> Normal:
    """Makes `Normal(scale="he")`, by name `kernel_prior="he_normal"`."""
    return Normal(scale="he")
