"""A network's random weights, and their priors' scales, as one flat vector.

A chain moves through a vector without bounds. Weights with a prior of fixed
scale are in it as they are. Where the scale has a prior too, the vector holds
log(scale) and the weight divided by the scale (the non-centred form of
[Papaspiliopoulos et al., 2007](https://doi.org/10.1214/088342307000000014)):
their joint density has no funnel, which no step size fits.
"""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import priors
from tfpbnn.base import positive
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Shape, Tensor


class RandomWeight(abc.ABC):
    """One weight of a network, and what its prior draws beside it.

    Attributes:
        variable: the network's.
        shapes: of the parts of the vector that the weight is made of, by name.
    """

    shapes: dict[str, tuple[int, ...]]

    def __init__(self, variable: keras.Variable):
        self.variable = variable
        self.shape = tuple(variable.shape)

    @abc.abstractmethod
    def weight(self, parts: dict[str, Tensor]) -> Tensor:
        """The weight that the parts make."""

    @abc.abstractmethod
    def log_prob(self, parts: dict[str, Tensor]) -> Tensor:
        """The log-density of the parts before the data, a scalar."""

    @abc.abstractmethod
    def sample(self, generator: np.random.Generator) -> dict[str, Array]:
        """A draw of the parts from the prior."""

    @abc.abstractmethod
    def parts_of(self, weight: Array) -> dict[str, Array]:
        """Parts that make a given weight."""

    def scales(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """The drawn scales of the prior, by name."""
        return {}


class FixedPrior(RandomWeight):
    """A weight whose prior is all known."""

    def __init__(self, variable: keras.Variable, prior: priors.Prior):
        super().__init__(variable)
        self.prior = prior
        self.shapes = {"weight": self.shape}

    def weight(self, parts: dict[str, Tensor]) -> Tensor:
        return parts["weight"]

    def log_prob(self, parts: dict[str, Tensor]) -> Tensor:
        return self.prior.distribution().log_prob(parts["weight"])

    def sample(self, generator: np.random.Generator) -> dict[str, Array]:
        seed = generator.integers(0, 2**31, 2).astype("int32")
        return {"weight": self.prior.distribution().sample(seed=seed).numpy()}

    def parts_of(self, weight: Array) -> dict[str, Array]:
        return {"weight": weight}


class ScaledPrior(RandomWeight):
    """A weight that is Normal given scales which have priors of their own."""

    def __init__(self, variable: keras.Variable, prior: priors.Prior):
        super().__init__(variable)
        self.prior = prior
        self.hyperpriors = prior.hyperpriors()
        scales = {
            name: tuple(shape) for name, (shape, _) in self.hyperpriors.items()
        }
        self.shapes = {"weight": self.shape} | scales

    def weight(self, parts: dict[str, Tensor]) -> Tensor:
        return self._loc + self._scale(parts) * parts["weight"]

    def log_prob(self, parts: dict[str, Tensor]) -> Tensor:
        raw = parts["weight"]
        normal = tfp.distributions.Normal(tf.zeros([], raw.dtype), 1.0)
        terms = [tf.reduce_sum(normal.log_prob(raw))]
        for name, (_, hyperprior) in self.hyperpriors.items():
            terms.append(tf.reduce_sum(hyperprior.log_prob(parts[name])))
        return tf.add_n(terms)

    def sample(self, generator: np.random.Generator) -> dict[str, Array]:
        scales = {
            name: np.log(hyperprior.sample(shape, generator))
            for name, (shape, hyperprior) in self.hyperpriors.items()
        }
        return {"weight": generator.standard_normal(self.shape)} | scales

    def parts_of(self, weight: Array) -> dict[str, Array]:
        scales = {
            name: np.full(shape, np.log(hyperprior.typical))
            for name, (shape, hyperprior) in self.hyperpriors.items()
        }
        dtype = self.variable.dtype
        given = {name: tf.cast(s, dtype) for name, s in scales.items()}
        scale = np.asarray(self._scale(given))
        return {"weight": (weight - np.asarray(self._loc)) / scale} | scales

    def scales(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tf.exp(parts[name]) for name in self.hyperpriors}

    @property
    def _loc(self) -> Any:
        return getattr(self.prior, "loc", 0.0)

    def _scale(self, parts: dict[str, Tensor]) -> Tensor:
        return self.prior.scale_given({n: parts[n] for n in self.hyperpriors})


class NoiseScale(RandomWeight):
    """The raw scale of a likelihood's noise: it is the scale that has a prior.

    The vector holds log(scale).
    """

    def __init__(self, variable: keras.Variable, prior: priors.Hyperprior):
        super().__init__(variable)
        self.hyperprior = prior
        self.shapes = {"scale": self.shape}

    def weight(self, parts: dict[str, Tensor]) -> Tensor:
        return positive.untransformed(tf.exp(parts["scale"]))

    def log_prob(self, parts: dict[str, Tensor]) -> Tensor:
        return tf.reduce_sum(self.hyperprior.log_prob(parts["scale"]))

    def sample(self, generator: np.random.Generator) -> dict[str, Array]:
        return {"scale": np.log(self.hyperprior.sample(self.shape, generator))}

    def parts_of(self, weight: Array) -> dict[str, Array]:
        return {"scale": np.log(np.logaddexp(0.0, weight.astype("float64")))}

    def scales(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scale": tf.exp(parts["scale"])}


class Parameters:
    """All random weights of a network as one vector.

    Attributes:
        random_weights: the weights, in the order of the vector.
        size: the vector's length.
        dtype: of all of it.
    """

    def __init__(self, random_weights: Sequence[RandomWeight]):
        self.random_weights = list(random_weights)
        self._slots = [
            (index, name, shape)
            for index, weight in enumerate(self.random_weights)
            for name, shape in weight.shapes.items()
        ]
        self._sizes = [int(np.prod(shape)) for _, _, shape in self._slots]
        self.size = sum(self._sizes)
        self.dtype = self.random_weights[0].variable.dtype

    @property
    def variables(self) -> list[keras.Variable]:
        """The network's variables that are random."""
        return [weight.variable for weight in self.random_weights]

    def weights(self, vector: Tensor) -> list[Tensor]:
        """The values of `variables`, from a vector `[D]`."""
        pairs = zip(self.random_weights, self.split(vector), strict=True)
        return [weight.weight(parts) for weight, parts in pairs]

    def scales(self, vector: Tensor) -> dict[str, Tensor]:
        """The priors' scales and the noise's, by path, from a vector `[D]`."""
        pairs = zip(self.random_weights, self.split(vector), strict=True)
        return {
            f"{weight.variable.path}/{name}": value
            for weight, parts in pairs
            for name, value in weight.scales(parts).items()
        }

    def log_prior(self, vector: Tensor) -> Tensor:
        """The log-density of a vector `[D]` before the data."""
        pairs = zip(self.random_weights, self.split(vector), strict=True)
        return tf.add_n([weight.log_prob(parts) for weight, parts in pairs])

    def split(self, vector: Tensor) -> list[dict[str, Tensor]]:
        """The parts of each weight."""
        found: list[dict[str, Tensor]] = [{} for _ in self.random_weights]
        pieces = tf.split(vector, self._sizes)
        for (index, name, shape), piece in zip(
            self._slots, pieces, strict=True
        ):
            found[index][name] = tf.reshape(piece, shape)
        return found

    def joined(self, parts: Sequence[dict[str, Array]]) -> Array:
        """The vector of such parts."""
        pieces = [np.ravel(parts[i][name]) for i, name, _ in self._slots]
        return np.concatenate(pieces).astype(self.dtype)

    def sample(self, generator: np.random.Generator) -> Array:
        """A vector from the prior."""
        return self.joined([w.sample(generator) for w in self.random_weights])

    def vector_of(self, weights: Sequence[Array]) -> Array:
        """A vector that makes these values of `variables`.

        Scales of priors are where their priors say is typical.
        """
        pairs = zip(self.random_weights, weights, strict=True)
        return self.joined([w.parts_of(np.asarray(v)) for w, v in pairs])

    def names(self) -> list[tuple[str, Shape]]:
        """What the vector is made of, in order, with its shapes."""
        return [
            (f"{self.random_weights[index].variable.path}/{name}", shape)
            for index, name, shape in self._slots
        ]
