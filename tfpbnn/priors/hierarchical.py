"""Defines priors whose scales have their own posterior."""

import abc
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Config, Identifier, Shape, Tensor
from tfpbnn.families import Family
from tfpbnn.priors import hyperpriors
from tfpbnn.priors.base import (
    Prior,
    check_axis,
    normal_cross_entropies,
    scales_shape,
)
from tfpbnn.priors.hyperpriors import Hyperprior, ScalePosterior


class ScaledPrior(Prior):
    """Normals about zero, given positive scales that have posteriors.

    The joint posterior is the product `q(w) q(scales)`, log-normal in each
    scale. So the expectation of `-log p(w | scales)` is exact for any family of
    weights, and the KL of the scales is added to that of the weights.
    """

    def _own_scale(
        self, name: str, shape: Any, hyperprior: Hyperprior
    ) -> ScalePosterior:
        """Makes a posterior of scales, which starts at the hyperprior's."""
        posterior = ScalePosterior(name=name, dtype=self.dtype_policy)
        posterior.build(shape, start=hyperprior.typical)
        return posterior

    @property
    def scale(self) -> Tensor:
        """The prior scales of the weights, at the medians of their factors.

        It broadcasts to the shape of the weights.
        """
        return tf.exp(self._log_scale())

    def distribution(self) -> Any:
        """Makes the Normals given the medians of the scales."""
        scale = tf.broadcast_to(self.scale, self.weight_shape)
        normal = tfp.distributions.Normal(tf.zeros_like(scale), scale)
        return tfp.distributions.Independent(normal, len(self.weight_shape))

    def cross_entropies(self, posterior: Family) -> Tensor | None:
        zero = tf.zeros([], self.parameter_dtype)
        return normal_cross_entropies(
            posterior, zero, self._log_scale(), self._precision()
        )

    def extra_divergence(self) -> Tensor:
        return self._total(self._scales())

    def shared_divergence(self) -> Tensor:
        shared = [
            (posterior, hyperprior)
            for posterior, hyperprior in self._scales()
            if posterior.loc.shape[:1] in ((), (1,))
        ]
        return self._total(shared)

    def _total(self, scales: list[tuple[ScalePosterior, Hyperprior]]) -> Tensor:
        kls = [posterior.divergence(prior) for posterior, prior in scales]
        return tf.add_n([tf.zeros([], self.parameter_dtype), *kls])

    def hyperpriors(self) -> dict[str, tuple[Shape, Hyperprior]]:
        return {
            posterior.name: (tuple(posterior.loc.shape), hyperprior)
            for posterior, hyperprior in self._scales()
        }

    def learned_scales(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {
            posterior.name: (posterior.mean_log, posterior.sd_log)
            for posterior, _ in self._scales()
        }

    def scale_given(self, log_scales: Mapping[str, Tensor]) -> Tensor:
        return tf.exp(self._log_scale_given(*log_scales.values()))

    @abc.abstractmethod
    def _log_scale_given(self, *log_scales: Tensor) -> Tensor:
        """The logarithm of the weights' scale, given those of `_scales`."""

    @abc.abstractmethod
    def _scales(self) -> list[tuple[ScalePosterior, Hyperprior]]:
        """Lists all scales' posteriors, and their hyperpriors."""

    @abc.abstractmethod
    def _log_scale(self) -> Tensor:
        """Computes the mean of the logarithm of the weights' scale."""

    @abc.abstractmethod
    def _precision(self) -> Tensor:
        """Computes the mean of the weights' `scale ** -2`."""


@registry.register("priors")
class HierarchicalNormal(ScaledPrior):
    """Normals about zero whose scale has a prior too, and is learned.

    `w ~ N(0, scale^2)`, `scale ~ hyperprior`. The scale's posterior is
    log-normal, and is trained with the weights; its KL to the hyperprior is
    part of the layer's KL. Unlike `Normal(learnable_scale=True)`, which finds
    one best scale, it says how sure that is, and with few weights per scale it
    does not overfit. (Weights and scale are independent in the posterior.)

    Args:
        hyperprior: the prior of the scale: "half_cauchy", "inverse_gamma", or
            an object such as `tfpbnn.priors.HalfCauchy(0.1)`.
        axis: the axes of the weight along which scales differ: None for one
            per weight tensor, -1 for one per output unit, 0 for one per input
            of a dense layer.

    Raises:
        ValueError: if it is built for a weight that has no such axis.

    Example:
    ```python
    prior = tfpbnn.priors.HierarchicalNormal(
        tfpbnn.priors.InverseGamma(1.0, 0.1), axis=-1
    )
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior=prior)
    y = layer(x)
    layer.kernel_prior.scale                        # [1, 8]: one per unit
    ```

    Reference:
        [MacKay, 1995](https://doi.org/10.1088/0954-898X_6_3_011)
    """

    def __init__(
        self,
        hyperprior: Identifier = "half_cauchy",
        axis: int | tuple[int, ...] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hyperprior = hyperpriors.get(hyperprior)
        self.axis = check_axis(axis)

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.scale_posterior = self._own_scale(
            "scale", scales_shape(self.weight_shape, self.axis), self.hyperprior
        )

    def _scales(self) -> list[tuple[ScalePosterior, Hyperprior]]:
        return [(self.scale_posterior, self.hyperprior)]

    def _log_scale_given(self, *log_scales: Tensor) -> Tensor:
        return log_scales[0]

    def _log_scale(self) -> Tensor:
        return self.scale_posterior.mean_log

    def _precision(self) -> Tensor:
        return self.scale_posterior.precision

    def get_config(self) -> Config:
        return super().get_config() | {
            "hyperprior": keras.saving.serialize_keras_object(self.hyperprior),
            "axis": self.axis,
        }
