"""Defines the scale-invariant prior of sparse variational dropout."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.families import Family
from tfpbnn.priors.base import Prior

# The constants of Molchanov et al.'s fit, equation 14.
_FIT = (0.63576, 1.87320, 1.48695)
# The largest log(alpha). Its gradient at `loc = 0` is 0 then, and not NaN.
_MAX_LOG_ALPHA = 20.0


def kl_to_log_uniform(log_alpha: Tensor) -> Tensor:
    """Computes the KL of Normal(m, alpha m^2) to the log-uniform distribution.

    It is elementwise and does not depend on m. It is an approximation, within
    0.0095 nats of the truth for all alpha; the arbitrary constant of the
    improper prior is chosen so that the KL vanishes as alpha grows.
    """
    limit, shift, slope = _FIT
    return limit * tf.sigmoid(
        -(shift + slope * log_alpha)
    ) + 0.5 * tf.math.softplus(-log_alpha)


@registry.register("priors")
class LogUniform(Prior):
    """The scale-invariant prior, `p(|w|)` proportional to `1 / |w|`.

    With it, training is sparse variational dropout. The KL depends only on the
    weight's relative variance, `alpha = scale^2 / loc^2`, and makes it as large
    as the data allow. If the data don't need a weight, alpha grows without
    bound and the weight is noise about zero. Weights with log(alpha) above 3 (a
    signal-to-noise ratio below 0.22) can be removed by `tfpbnn.prune`.

    The prior is improper: its KL has an arbitrary constant (it is 0 at infinite
    alpha), so that losses can't be compared with those of other priors. It
    needs independent Normals, `"mean_field_normal"`, `"he_normal"` or
    `"ktied_normal"`, best in a `LocalReparameterization` layer, since noise of
    large alpha is too much for other estimators. Let the KL's weight start near
    0 (`tfpbnn.callbacks.KLWeight`) in deep networks, or weights are dropped
    before they have learned anything.

    Raises:
        ValueError: if the layer is built with a posterior that is not of
            independent Normals.

    Example:
    ```python
    layer = tfpbnn.layers.DenseLocalReparameterization(
        8, activation="relu", kernel_prior="log_uniform"
    )
    y = layer(x)
    ```

    Reference:
        [Molchanov et al., 2017](https://arxiv.org/abs/1701.05369)
    """

    def build_for(self, posterior: Family) -> None:
        if not (posterior.independent_normal and posterior.is_random):
            raise ValueError(
                "The prior `LogUniform` needs weights that are independent "
                'Normals: "mean_field_normal", "he_normal" or "ktied_normal". '
                f"Received: {posterior.name}={type(posterior).__name__}"
            )
        super().build_for(posterior)

    def distribution(self) -> Any:
        raise NotImplementedError(
            "`LogUniform` has no distribution: its density has no integral."
        )

    def divergences(self, posterior: Family) -> Tensor:
        loc, variance = posterior.loc_and_variance()
        ratio = tf.square(loc) / variance
        log_alpha = -tf.math.log(ratio + math.exp(-_MAX_LOG_ALPHA))
        return kl_to_log_uniform(log_alpha)

    def get_config(self) -> Config:
        # Keras makes one of the constructor's arguments if this isn't here.
        return super().get_config()
