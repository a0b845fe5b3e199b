"""Defines likelihoods of counts."""

from typing import Any

import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Config, Tensor
from tfpbnn.likelihoods import closed_crps
from tfpbnn.likelihoods.base import Likelihood
from tfpbnn.likelihoods.parameters import positive


@registry.register("likelihoods")
class Poisson(Likelihood):
    """The Poisson distribution of counts; the model gives the log rate.

    Args:
        from_log_rate: whether the outputs are logarithms of rates; False if
            they are rates (of a softplus or exponential activation), which
            Keras's `Poisson` loss takes.
        reduction, name, dtype: as in any Keras loss.

    Example:
    ```python
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile("adam", loss=tfpbnn.likelihoods.Poisson())
    ```
    """

    is_discrete = True

    def __init__(self, from_log_rate: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.from_log_rate = bool(from_log_rate)

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("log rate",) if self.from_log_rate else ("rate",)

    def _marginals(self, *parameters: Tensor) -> Any:
        (value,) = parameters
        if self.from_log_rate:
            return tfp.distributions.Poisson(log_rate=value)
        return tfp.distributions.Poisson(rate=value)

    def _crps(self, distribution: Any, y: Tensor) -> Tensor:
        return closed_crps.poisson(distribution, y)

    def get_config(self) -> Config:
        return super().get_config() | {"from_log_rate": self.from_log_rate}


@registry.register("likelihoods")
class NegativeBinomial(Likelihood):
    """The negative binomial distribution: counts more spread than a Poisson's.

    The outputs are the log mean and a raw dispersion. With `r = 1e-6 +
    softplus(raw dispersion)`, `E[y] = mean` and `Var[y] = mean + mean^2 / r`.

    Args:
        reduction, name, dtype: as in any Keras loss.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.NegativeBinomial()
    likelihood.params_size(1)                       # 2 outputs
    ```
    """

    is_discrete = True

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("log mean", "raw dispersion")

    def _marginals(self, *parameters: Tensor) -> Any:
        log_mean, raw = parameters
        dispersion = positive(raw)
        return tfp.distributions.NegativeBinomial(
            total_count=dispersion,
            logits=log_mean - tf.math.log(dispersion),
        )
