"""A network's random weights, and their priors' scales, as one flat vector.

A chain moves through a vector without bounds. Weights with a prior of fixed
scale are in it as they are. Where the scale has a prior too, the vector holds
log(scale) and the weight divided by the scale (the non-centred form of
[Papaspiliopoulos et al., 2007](https://doi.org/10.1214/088342307000000014)):
their joint density has no funnel, which no step size fits.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import priors
from tfpbnn.base import positive
from tfpbnn.base.by_output import each_once
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Shape, Tensor
from tfpbnn.base.xla import run_as_graph

# From a shape to an array of it.
Noise = Callable[[Shape], Array]


class RandomWeight(abc.ABC):
    """One weight of a network, and what its prior draws beside it.

    Attributes:
        variable: the network's.
        prior: of the weight, or of the scale that it stands for.
        shapes: of the parts of the vector that the weight is made of, by name.
    """

    prior: priors.Prior | priors.Hyperprior
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
    def sample(
        self, generator: np.random.Generator, count: int
    ) -> dict[str, Array]:
        """Draws of the parts from the prior, `[count, ...]` each."""

    @abc.abstractmethod
    def parts_of(self, weight: Array, noise: Noise) -> dict[str, Array]:
        """Parts that make a given weight.

        Args:
            weight: the weight.
            noise: of each scale, in standard deviations of what the prior has
                learned of its logarithm.
        """

    def scales(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """The drawn scales of the prior, by name."""
        return {}


class FixedPrior(RandomWeight):
    """A weight whose prior is all known."""

    prior: priors.Prior

    def __init__(self, variable: keras.Variable, prior: priors.Prior):
        super().__init__(variable)
        self.prior = prior
        self.shapes = {"weight": self.shape}

    def weight(self, parts: dict[str, Tensor]) -> Tensor:
        return parts["weight"]

    def log_prob(self, parts: dict[str, Tensor]) -> Tensor:
        return self.prior.distribution().log_prob(parts["weight"])

    def sample(
        self, generator: np.random.Generator, count: int
    ) -> dict[str, Array]:
        seed = generator.integers(0, 2**31, 2).astype("int32")
        draws = self.prior.distribution().sample(count, seed=seed)
        return {"weight": draws.numpy()}

    def parts_of(self, weight: Array, noise: Noise) -> dict[str, Array]:
        return {"weight": weight}


class ScaledPrior(RandomWeight):
    """A weight that is Normal given scales which have priors of their own."""

    prior: priors.Prior

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

    def sample(
        self, generator: np.random.Generator, count: int
    ) -> dict[str, Array]:
        scales = {
            name: np.log(hyperprior.sample((count, *shape), generator))
            for name, (shape, hyperprior) in self.hyperpriors.items()
        }
        raw = generator.standard_normal((count, *self.shape))
        return {"weight": raw} | scales

    def parts_of(self, weight: Array, noise: Noise) -> dict[str, Array]:
        scales = {
            name: np.asarray(mean) + np.asarray(sd) * noise(tuple(mean.shape))
            for name, (mean, sd) in self.prior.learned_scales().items()
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

    prior: priors.Hyperprior

    def __init__(self, variable: keras.Variable, prior: priors.Hyperprior):
        super().__init__(variable)
        self.prior = prior
        self.shapes = {"scale": self.shape}

    def weight(self, parts: dict[str, Tensor]) -> Tensor:
        return positive.untransformed(tf.exp(parts["scale"]))

    def log_prob(self, parts: dict[str, Tensor]) -> Tensor:
        return tf.reduce_sum(self.prior.log_prob(parts["scale"]))

    def sample(
        self, generator: np.random.Generator, count: int
    ) -> dict[str, Array]:
        shape = (count, *self.shape)
        return {"scale": np.log(self.prior.sample(shape, generator))}

    def parts_of(self, weight: Array, noise: Noise) -> dict[str, Array]:
        return {"scale": np.log(np.logaddexp(0.0, weight.astype("float64")))}

    def scales(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scale": tf.exp(parts["scale"])}


def with_prior(
    variable: keras.Variable, prior: priors.Prior | priors.Hyperprior
) -> RandomWeight:
    """A weight and its own prior, which is built if it was not yet.

    Args:
        variable: the network's; with a hyperprior the raw scale of a noise.
        prior: not shared with other weights.

    Raises:
        ValueError: if the prior is improper.
    """
    if isinstance(prior, priors.Hyperprior):
        return NoiseScale(variable, prior)
    if isinstance(prior, priors.LogUniform):
        raise ValueError(
            "`prior` must be a distribution, to draw from the posterior. "
            f"Received: LogUniform for {variable.path}, which is improper"
        )
    if not hasattr(prior, "weight_shape"):
        prior.build(tuple(variable.shape))
    if prior.hyperpriors():
        return ScaledPrior(variable, prior)
    return FixedPrior(variable, prior)


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

    @property
    def paths(self) -> list[str]:
        """Their paths, each one once: nested models may have the same."""
        return each_once(v.path for v in self.variables)

    def weights(self, vector: Tensor) -> list[Tensor]:
        """The values of `variables`, from a vector `[D]`."""
        pairs = zip(self.random_weights, self.split(vector), strict=True)
        return [weight.weight(parts) for weight, parts in pairs]

    def scales(self, vector: Tensor) -> dict[str, Tensor]:
        """The priors' scales and the noise's, by path, from a vector `[D]`."""
        pairs = zip(self.random_weights, self.split(vector), strict=True)
        return {
            f"{path}/{name}": value
            for path, (weight, parts) in zip(self.paths, pairs, strict=True)
            for name, value in weight.scales(parts).items()
        }

    def values(self, vectors: Array) -> tuple[list[Tensor], dict[str, Tensor]]:
        """`weights` and `scales` of many vectors `[N, D]`, `[N, ...]` each."""

        def one(vector: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
            return self.weights(vector), self.scales(vector)

        kinds = keras.tree.map_structure(lambda t: t.dtype, one(vectors[0]))

        def all_of(vectors: Tensor) -> Any:
            return tf.map_fn(one, vectors, fn_output_signature=kinds)

        return run_as_graph(all_of, tf.constant(vectors))

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
        """The vector of such parts; of parts `[N, ...]` vectors `[N, D]`."""
        pieces = []
        for index, name, shape in self._slots:
            part = np.asarray(parts[index][name])
            leading = part.shape[: part.ndim - len(shape)]
            pieces.append(np.reshape(part, (*leading, -1)))
        return np.concatenate(pieces, axis=-1).astype(self.dtype)

    def sample(self, generator: np.random.Generator) -> Array:
        """A vector from the prior."""
        return self.samples(generator, 1)[0]

    def samples(self, generator: np.random.Generator, count: int) -> Array:
        """Vectors from the prior, `[count, D]`."""
        return self.joined(
            [w.sample(generator, count) for w in self.random_weights]
        )

    def vector_of(
        self, weights: Sequence[Array], noise: Noise = np.zeros
    ) -> Array:
        """A vector that makes these values of `variables`.

        Args:
            weights: the values.
            noise: of the priors' scales, in standard deviations of what is
                known of their logarithms: priors of a variational model have
                learned it, and others begin at what is typical for them.
        """
        pairs = zip(self.random_weights, weights, strict=True)
        return self.joined([w.parts_of(np.asarray(v), noise) for w, v in pairs])

    def names(self) -> list[tuple[str, Shape]]:
        """What the vector is made of, in order, with its shapes."""
        return [
            (f"{self.paths[index]}/{name}", shape)
            for index, name, shape in self._slots
        ]
