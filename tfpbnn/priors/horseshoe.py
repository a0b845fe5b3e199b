"""Defines horseshoe priors: most weights vanish, others hardly shrink."""

from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.priors.base import check_axis, scales_shape
from tfpbnn.priors.hierarchical import ScaledPrior
from tfpbnn.priors.hyperpriors import (
    HalfCauchy,
    Hyperprior,
    InverseGamma,
    ScalePosterior,
    mean_softplus,
)


class LocalGlobal(ScaledPrior):
    """A prior with the half-Cauchy scales that horseshoes share."""

    def __init__(
        self,
        global_scale: float = 1.0,
        local_scale: float = 1.0,
        axis: int | tuple[int, ...] = -1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.global_hyperprior = HalfCauchy(
            checks.positive_number("global_scale", global_scale)
        )
        self.local_hyperprior = HalfCauchy(
            checks.positive_number("local_scale", local_scale)
        )
        self.axis = check_axis(axis)

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.global_posterior = self._own_scale(
            "global_scale", (), self.global_hyperprior
        )
        self.local_posterior = self._own_scale(
            "local_scale",
            scales_shape(self.weight_shape, self.axis),
            self.local_hyperprior,
        )

    def _scales(self) -> list[tuple[ScalePosterior, Hyperprior]]:
        return [
            (self.global_posterior, self.global_hyperprior),
            (self.local_posterior, self.local_hyperprior),
        ]

    def _log_scale_given(self, *log_scales: Tensor) -> Tensor:
        return log_scales[0] + log_scales[1]

    def _log_scale(self) -> Tensor:
        return self.global_posterior.mean_log + self.local_posterior.mean_log

    def _precision(self) -> Tensor:
        return self.global_posterior.precision * self.local_posterior.precision

    def get_config(self) -> Config:
        return super().get_config() | {
            "global_scale": self.global_hyperprior.scale,
            "local_scale": self.local_hyperprior.scale,
            "axis": self.axis,
        }


@registry.register("priors")
class Horseshoe(LocalGlobal):
    """The horseshoe prior, with half-Cauchy scales that are learned.

    `w ~ N(0, (global local)^2)`. One global scale per weight tensor draws
    everything to zero; local scales, whose tails are heavy, let a few weights
    (by default the incoming weights of a unit together) stay large. The scales
    have log-normal posteriors that are trained with the weights; their KL,
    exact by quadrature, is part of the layer's KL. (In the posterior, weights
    and scales are independent: the centred parameterization.)

    Args:
        global_scale: the median of the global scale before the data, a
            positive number; smaller ones shrink more.
        local_scale: the median of the local scales before the data, a positive
            number.
        axis: the axes of the weight along which local scales differ: -1 for
            one per output unit (which prunes units), 0 for one per input of a
            dense layer (which prunes inputs), (0, 1) for one per weight of it.

    Raises:
        ValueError: if a scale is not positive, or if it is built for a weight
            that has no such axis.

    Example:
    ```python
    prior = tfpbnn.priors.Horseshoe(axis=0)         # which inputs matter?
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior=prior)
    y = layer(x)
    layer.kernel_prior.scale                        # [4, 1]: one per input
    ```

    Reference:
        [Carvalho et al., 2010](https://doi.org/10.1093/biomet/asq017);
        [Ghosh et al., 2019](https://www.jmlr.org/papers/v20/19-236.html)
    """


@registry.register("priors")
class RegularizedHorseshoe(LocalGlobal):
    """A horseshoe with a slab, which keeps large weights finite.

    Precisions add up: `1 / scale^2 = 1 / (global local)^2 + 1 / slab^2`, with
    `slab^2` inverse-gamma, so that large weights are as under a Student's t
    with `slab_df` degrees of freedom and scale `slab_scale`. Where data don't
    say how large a weight is (separable classes), the plain horseshoe lets it
    grow without end.

    Args:
        global_scale, local_scale, axis: as in `Horseshoe`.
        slab_scale: the typical size of weights that matter, a positive number.
        slab_df: the degrees of freedom of the slab, a positive number; more
            make the size more certain.

    Raises:
        ValueError: if a number is not positive, or if it is built for a weight
            that has no such axis.

    Example:
    ```python
    prior = tfpbnn.priors.RegularizedHorseshoe(global_scale=0.1)
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior=prior)
    y = layer(x)
    ```

    Reference:
        [Piironen and Vehtari, 2017](https://arxiv.org/abs/1707.01694);
        [Ghosh et al., 2019](https://www.jmlr.org/papers/v20/19-236.html)
    """

    def __init__(
        self,
        global_scale: float = 1.0,
        local_scale: float = 1.0,
        axis: int | tuple[int, ...] = -1,
        slab_scale: float = 2.0,
        slab_df: float = 4.0,
        **kwargs: Any,
    ):
        super().__init__(global_scale, local_scale, axis, **kwargs)
        self.slab_scale = checks.positive_number("slab_scale", slab_scale)
        self.slab_df = checks.positive_number("slab_df", slab_df)
        self.slab_hyperprior = InverseGamma(
            0.5 * self.slab_df, 0.5 * self.slab_df * self.slab_scale**2
        )

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.slab_posterior = self._own_scale("slab", (), self.slab_hyperprior)

    def _scales(self) -> list[tuple[ScalePosterior, Hyperprior]]:
        return [*super()._scales(), (self.slab_posterior, self.slab_hyperprior)]

    def _log_scale_given(self, *log_scales: Tensor) -> Tensor:
        *spreads, slab = log_scales
        spread = super()._log_scale_given(*spreads)
        return spread - 0.5 * tf.math.softplus(2 * (spread - slab))

    def _log_scale(self) -> Tensor:
        """Computes the mean of log(scale), with `spread = global local`.

        It is the mean of `log(spread) - softplus(2 log(spread / slab)) / 2`.
        """
        spread = super()._log_scale()
        parts = (
            self.global_posterior,
            self.local_posterior,
            self.slab_posterior,
        )
        variance = sum(tf.square(part.sd_log) for part in parts)
        above = spread - self.slab_posterior.mean_log
        return spread - 0.5 * mean_softplus(2 * above, 2 * tf.sqrt(variance))

    def _precision(self) -> Tensor:
        return super()._precision() + self.slab_posterior.precision

    def get_config(self) -> Config:
        return super().get_config() | {
            "slab_scale": self.slab_scale,
            "slab_df": self.slab_df,
        }
