"""Defines what all posterior families share."""

import abc
import math
from typing import Any

import keras
import tensorflow as tf
from keras import constraints, initializers, regularizers

from tfpbnn import fused, random
from tfpbnn.base import checks, positive, template
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Config, Identifier, Tensor

# The entropy of a standard Normal.
NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)

# What a family is defined by; shortcuts compute the same faster.
_DEFINING = ("sample", "noise", "variance", "scale", "entropy", "distribution")


class Family(template.Template):
    """A distribution over one weight tensor, with its own variables.

    Attributes:
        is_random: whether draws differ.
        is_normal: whether the weights are jointly Normal with mean `loc`.
        independent_normal: whether the weights are Normal with mean `loc` and
            independent, as local reparameterization requires.
        sign_symmetric: whether the distribution of `sample - loc` stays the
            same if the signs of any elements are flipped, as Flipout requires.
            So elements are symmetric and uncorrelated, but need not be
            independent.
    """

    is_random = True
    is_normal = False
    independent_normal = False
    sign_symmetric = False
    scale: Any = None

    @abc.abstractmethod
    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        """Makes the variables for weights of `shape`.

        Args:
            shape: the shape of the weights.
            loc: a Keras layer's variable that is to be the location; None
                makes one.
        """

    @property
    @abc.abstractmethod
    def loc(self) -> keras.Variable:
        """The location: the mean, or the point that `draws="mean"` takes."""

    @abc.abstractmethod
    def sample(self, key: Tensor | None = None) -> Tensor:
        """Draws the weights once, differentiable in the variables.

        Args:
            key: the key of the draw, `[2]`, the same draw each time. None, in
                eager code, is another draw each time, which follows
                `keras.utils.set_random_seed`.
        """

    @abc.abstractmethod
    def distribution(self) -> Any:
        """Makes the TFP distribution; its event is the whole weight tensor."""

    def noise(self, key: Tensor) -> Tensor:
        """Draws the noise with this key: `sample(key) - loc`."""
        return self.sample(key) - tf.convert_to_tensor(self.loc)

    @property
    def has_own_draws(self) -> bool:
        """Whether a user's class has its own draws, without our shortcuts."""
        cls = type(self)
        ours = next(
            c for c in cls.__mro__ if c.__module__.startswith("tfpbnn.")
        )
        return any(getattr(cls, n) is not getattr(ours, n) for n in _DEFINING)

    def before_draws(self) -> Any:
        """Computes once what `draws` finds as `random.known(self)`."""
        return None

    def draws(self, keys: Tensor) -> Tensor:
        """Draws the weights for each of `keys [S, 2]`: `[S, *shape]`.

        This is for prediction; the noise has the signs of the current scope's
        draws.
        """
        loc = tf.convert_to_tensor(self.loc)
        found = tf.map_fn(self.sample, keys, fn_output_signature=loc.dtype)
        if random.signs_of_draws() is None:
            return found
        return loc + random.signed(found - loc)

    def mean(self) -> Tensor:
        """Computes the mean of each weight, of the weights' shape.

        Raises:
            NotImplementedError: if it is not known.
        """
        return self.loc_and_variance()[0]

    def stddev(self) -> Tensor:
        """Computes the standard deviation of each weight, in their shape.

        Raises:
            NotImplementedError: if it is not known.
        """
        return tf.sqrt(self.loc_and_variance()[1])

    def variance(self) -> Tensor:
        """Computes elementwise variances, for families whose mean is `loc`."""
        raise NotImplementedError(
            f"`{type(self).__name__}` has no elementwise variance."
        )

    def prune(self, keep: Array) -> None:
        """Sets the elements where `keep` is False to 0, without noise."""
        raise NotImplementedError(
            f"`{type(self).__name__}` cannot lose single weights."
        )

    def entropy(self) -> Tensor:
        """Computes the entropy in nats; 0 for a point.

        Raises:
            NotImplementedError: if it has no closed form. Divergences then use
                `distribution().log_prob` of a draw.
        """
        return self.distribution().entropy()

    def loc_and_variance(self) -> tuple[Tensor, Tensor]:
        """Computes both moments, for which one fused pass may be enough."""
        return tf.convert_to_tensor(self.loc), self.variance()

    def kl_to_normal(self, loc: Tensor, scale: Tensor) -> Tensor | None:
        """Computes the KL to Normals of one scale, if a fused pass does so.

        Args:
            loc: the means of the Normals, of the weights' shape or a number.
            scale: the standard deviation of all of these.

        Returns:
            The KL in nats, or None if the family has no such pass, or is too
            small for it to pay.
        """
        return None

    # What the estimators ask for in training. A family that computes the KL to
    # Normals with mean zero and standard deviation `scale` in the same pass
    # gives it too, in nats; else, and for a `scale` of None, the KL is None.

    def sample_and_kl(
        self, key: Tensor, scale: float | None
    ) -> tuple[Tensor, Tensor | None]:
        """Draws the weights, and computes the KL if it is part of the pass."""
        return self.sample(key), None

    def noise_and_kl(
        self, key: Tensor, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Computes location and noise, and the KL if it is part of the pass."""
        return tf.convert_to_tensor(self.loc), self.noise(key), None

    def variance_and_kl(
        self, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Computes location and variance, and the KL if the pass has it."""
        return *self.loc_and_variance(), None


class LocFamily(Family):
    """A family with a free location.

    A subclass says how samples, or the noise about `loc`, are drawn.
    """

    def __init__(
        self,
        loc_initializer: Identifier = None,
        loc_regularizer: Identifier = None,
        loc_constraint: Identifier = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.loc_initializer = initializers.get(
            loc_initializer or initializers.RandomNormal(stddev=0.1)
        )
        self.loc_regularizer = regularizers.get(loc_regularizer)
        self.loc_constraint = constraints.get(loc_constraint)
        self._loc: keras.Variable | None = None

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        if loc is not None:
            self._loc = loc
            return
        self._loc = self.add_parameter(
            "loc",
            shape,
            self.loc_initializer,
            regularizer=self.loc_regularizer,
            constraint=self.loc_constraint,
        )

    @property
    def loc(self) -> keras.Variable:
        if self._loc is None:
            raise ValueError(
                f"`{self.name}` has no weights yet: call the layer or model "
                "on some data, or `build` it, first."
            )
        return self._loc

    def get_config(self) -> Config:
        return super().get_config() | {
            "loc_initializer": initializers.serialize(self.loc_initializer),
            "loc_regularizer": regularizers.serialize(self.loc_regularizer),
            "loc_constraint": constraints.serialize(self.loc_constraint),
        }


class ScaleFamily(LocFamily):
    """A family with a free location and initial scales.

    The argument for initial scales is the same in all of these families, in the
    space of `scale = 1.2e-7 + softplus(untransformed_scale)`, whatever
    variables a family has.
    """

    def __init__(
        self,
        loc_initializer: Identifier = None,
        untransformed_scale_initializer: Identifier = None,
        loc_regularizer: Identifier = None,
        loc_constraint: Identifier = None,
        **kwargs: Any,
    ):
        super().__init__(
            loc_initializer, loc_regularizer, loc_constraint, **kwargs
        )
        self.untransformed_scale_initializer = initializers.get(
            untransformed_scale_initializer
            or initializers.RandomNormal(mean=-3.0, stddev=0.1)
        )

    def _add_untransformed_scale(self, shape: Any, **kwargs: Any) -> None:
        self.untransformed_scale = self.add_parameter(
            "untransformed_scale",
            shape,
            self.untransformed_scale_initializer,
            **kwargs,
        )

    def _initial_scale(self, shape: Any, dtype: Any) -> Tensor:
        """Makes initial scales, for weights of `shape`."""
        raw = self.untransformed_scale_initializer(shape, dtype=dtype)
        return positive.positive(tf.convert_to_tensor(raw))

    def _typical_scale(self, shape: Any, dtype: Any) -> Tensor:
        """Computes the geometric mean of initial scales.

        It is for families with fewer scales than weights.
        """
        scale = self._initial_scale(shape, dtype)
        return tf.exp(tf.reduce_mean(tf.math.log(scale)))

    def sample(self, key: Tensor | None = None) -> Tensor:
        noise = self.noise(random.key_or_new(key))
        return tf.convert_to_tensor(self.loc) + noise

    @abc.abstractmethod
    def noise(self, key: Tensor) -> Tensor: ...

    def _standard(self, key: Tensor, shape: Any) -> Tensor:
        """Draws standard normals in the dtype of the variables."""
        return random.normal(key, shape, self.parameter_dtype)

    @property
    def scale(self) -> Tensor:
        """The scales of the weights, in the dtype of the variables."""
        return positive.positive(tf.convert_to_tensor(self.untransformed_scale))

    def get_config(self) -> Config:
        return super().get_config() | {
            "untransformed_scale_initializer": initializers.serialize(
                self.untransformed_scale_initializer
            ),
        }


class RankFamily(ScaleFamily):
    """A family with a matrix of `rank` columns."""

    def __init__(
        self,
        rank: int = 2,
        loc_initializer: Identifier = None,
        untransformed_scale_initializer: Identifier = None,
        loc_regularizer: Identifier = None,
        loc_constraint: Identifier = None,
        **kwargs: Any,
    ):
        super().__init__(
            loc_initializer,
            untransformed_scale_initializer,
            loc_regularizer,
            loc_constraint,
            **kwargs,
        )
        self.rank = checks.positive_integer("rank", rank)

    def get_config(self) -> Config:
        return super().get_config() | {"rank": self.rank}


class IndependentNormal(Family):
    """Independent Normals, whose `loc` and `scale` subclasses define."""

    is_normal = True
    independent_normal = True
    sign_symmetric = True

    def draws(self, keys: Tensor) -> Tensor:
        if self.has_own_draws:
            return super().draws(keys)
        loc, scale = random.known(self) or self.before_draws()
        return fused.normal_draws(loc, scale, keys)

    def before_draws(self) -> tuple[Tensor, Tensor]:
        return tf.convert_to_tensor(self.loc), self.scale

    def noise(self, key: Tensor) -> Tensor:
        scale = self.scale
        return scale * random.normal(key, scale.shape, scale.dtype)

    def variance(self) -> Tensor:
        return tf.square(self.scale)

    def entropy(self) -> Tensor:
        return tf.reduce_sum(tf.math.log(self.scale) + NORMAL_ENTROPY)

    def distribution(self) -> Any:
        loc = tf.convert_to_tensor(self.loc)
        normal = tfp.distributions.Normal(loc, self.scale)
        return tfp.distributions.Independent(normal, len(loc.shape))


def reshaped(distribution: Any, shape: Any) -> Any:
    """Converts a distribution over vectors or matrices to one over `shape`."""
    reshape = tfp.bijectors.Reshape(
        tuple(shape), tuple(distribution.event_shape)
    )
    return tfp.distributions.TransformedDistribution(distribution, reshape)
