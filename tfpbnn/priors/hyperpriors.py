"""Defines priors over the scales of priors, and the posterior of scales.

All is computed in s = log(scale), where the posterior is Normal and densities
are smooth and without bounds.
"""

import abc
import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, positive, registry, template
from tfpbnn.base.types import Array, Config, Identifier, Shape, Tensor
from tfpbnn.families.base import NORMAL_ENTROPY

# Gauss-Hermite nodes and weights for means over a standard Normal.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / math.sqrt(2 * math.pi)
_INITIAL_SD = 0.1


class Hyperprior(abc.ABC):
    """A distribution over a positive scale."""

    @property
    @abc.abstractmethod
    def typical(self) -> float:
        """The scale to start from."""

    @abc.abstractmethod
    def cross_entropy(self, loc: Tensor, sd: Tensor) -> Tensor:
        """Computes the means of `-log p(s)` over `s ~ N(loc, sd^2)`."""

    def log_prob(self, log_scale: Tensor) -> Tensor:
        """The log-density of s = log(scale), elementwise."""
        return -self.cross_entropy(log_scale, tf.zeros_like(log_scale))

    @abc.abstractmethod
    def sample(self, shape: Shape, generator: np.random.Generator) -> Array:
        """Draws of scales, as a float64 array."""

    @abc.abstractmethod
    def get_config(self) -> Config: ...

    @classmethod
    def from_config(cls, config: Config) -> "Hyperprior":
        return cls(**config)


@registry.register("priors")
class HalfCauchy(Hyperprior):
    """The positive half of a Cauchy, which hardly bounds large scales.

    Args:
        scale: the median, a positive number.

    Raises:
        ValueError: if `scale` is not positive.

    Reference:
        [Gelman, 2006](https://doi.org/10.1214/06-BA117A)
    """

    def __init__(self, scale: float = 1.0):
        self.scale = checks.positive_number("scale", scale)

    @property
    def typical(self) -> float:
        return self.scale

    def cross_entropy(self, loc: Tensor, sd: Tensor) -> Tensor:
        above = loc - math.log(self.scale)
        return math.log(math.pi / 2) - above + mean_softplus(2 * above, 2 * sd)

    def sample(self, shape: Shape, generator: np.random.Generator) -> Array:
        return self.scale * np.abs(generator.standard_cauchy(shape))

    def get_config(self) -> Config:
        return {"scale": self.scale}


@registry.register("priors")
class InverseGamma(Hyperprior):
    """The inverse-gamma prior of `scale ** 2`, conjugate for a variance.

    Args:
        concentration: half the number of weights that the prior counts as, a
            positive number.
        scale: the inverse gamma's scale, a positive number. The mode of the
            variance is `scale / (concentration + 1)`.

    Raises:
        ValueError: if `concentration` or `scale` is not positive.
    """

    def __init__(self, concentration: float = 1.0, scale: float = 1.0):
        self.concentration = checks.positive_number(
            "concentration", concentration
        )
        self.scale = checks.positive_number("scale", scale)

    @property
    def typical(self) -> float:
        return math.sqrt(self.scale / self.concentration)

    def cross_entropy(self, loc: Tensor, sd: Tensor) -> Tensor:
        constant = (
            math.lgamma(self.concentration)
            - self.concentration * math.log(self.scale)
            - math.log(2.0)
        )
        precision = tf.exp(2 * tf.square(sd) - 2 * loc)
        return constant + 2 * self.concentration * loc + self.scale * precision

    def sample(self, shape: Shape, generator: np.random.Generator) -> Array:
        precision = generator.gamma(self.concentration, 1 / self.scale, shape)
        return 1 / np.sqrt(precision)

    def get_config(self) -> Config:
        return {"concentration": self.concentration, "scale": self.scale}


def get(identifier: Identifier, argument: str = "hyperprior") -> Hyperprior:
    """Finds a hyperprior by name, config or object.

    Raises:
        ValueError: if a name is unknown; the message lists the known ones,
            "half_cauchy" and "inverse_gamma".
        TypeError: if the identifier is not a hyperprior; None is not.
    """
    known = {"half_cauchy": HalfCauchy, "inverse_gamma": InverseGamma}
    found = registry.get(identifier, Hyperprior, known, argument)
    if found is None:
        raise TypeError(f"`{argument}` must not be None.")
    return found


def mean_softplus(loc: Tensor, sd: Tensor) -> Tensor:
    """Computes the mean of `softplus(x)` for `x ~ N(loc, sd^2)`."""
    nodes = tf.constant(_NODES, loc.dtype)
    weights = tf.constant(_WEIGHTS, loc.dtype)
    x = loc[..., tf.newaxis] + sd[..., tf.newaxis] * nodes
    return tf.reduce_sum(weights * tf.math.softplus(x), axis=-1)


@registry.register("priors")
class ScalePosterior(template.Template):
    """Independent log-normal posteriors of positive scales, part of a prior.

    Their KL to a hyperprior is exact, by a closed form or by quadrature of a
    smooth function of one dimension.
    """

    def build(self, shape: Any, start: float) -> None:
        """Makes the variables, of `shape`; scales start at `start`."""
        self.loc = self.add_parameter(
            "loc",
            shape,
            lambda shape, dtype: tf.fill(
                shape, tf.constant(math.log(start), dtype)
            ),
        )
        self.untransformed_sd = self.add_parameter(
            "untransformed_sd",
            shape,
            lambda shape, dtype: tf.fill(
                shape, positive.untransformed(tf.constant(_INITIAL_SD, dtype))
            ),
        )

    @property
    def mean_log(self) -> Tensor:
        """The mean of `log(scale)`."""
        return tf.convert_to_tensor(self.loc)

    @property
    def sd_log(self) -> Tensor:
        """The standard deviation of `log(scale)`."""
        return positive.positive(tf.convert_to_tensor(self.untransformed_sd))

    @property
    def median(self) -> Tensor:
        """The median of the scale."""
        return tf.exp(self.mean_log)

    @property
    def precision(self) -> Tensor:
        """The mean of `scale ** -2`."""
        return tf.exp(2 * tf.square(self.sd_log) - 2 * self.mean_log)

    def divergence(self, hyperprior: Hyperprior) -> Tensor:
        """Computes the KL to a hyperprior, in nats."""
        sd = self.sd_log
        return tf.reduce_sum(
            hyperprior.cross_entropy(self.mean_log, sd)
            - tf.math.log(sd)
            - NORMAL_ENTROPY
        )
