"""Posterior families: the distributions that a layer's weights can have.

How to add one: subclass `Family`, give it `build`, `loc`, `sample` and
`distribution` (and `noise` and `variance` if the properties that Flipout and
local reparameterization ask for hold), and add it to `_FAMILIES`.
"""

import abc
from typing import Any

import keras
import tensorflow as tf
from keras import constraints, initializers, regularizers

from tfpbnn import _registry, fused, random
from tfpbnn._tfp import tfp
from tfpbnn.types import Array, Config, Identifier, Tensor

# An untransformed scale of which only the scale's floor, 1.2e-7, is left.
_SILENT = -50.0


class Family(_registry.Template):
    """A distribution over one weight tensor, with variables of its own.

    Attributes:
        is_random: False if `sample` always gives the same.
        independent_normal: all elements are independent Normals, as local
            reparameterization requires.
        symmetric_independent: elements are independent and symmetric about
            `loc`, as Flipout requires.
    """

    is_random = True
    independent_normal = False
    symmetric_independent = False

    @abc.abstractmethod
    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        """Makes the variables for weights of `shape`.

        Args:
            shape: of the weights.
            loc: a Keras layer's variable that is to be the location.
        """

    @property
    @abc.abstractmethod
    def loc(self) -> keras.Variable:
        """The location: the mean, or what `draws="mean"` is to use."""

    @abc.abstractmethod
    def sample(self, key: Tensor) -> Tensor:
        """One draw of the weights, differentiable in the variables."""

    @abc.abstractmethod
    def distribution(self) -> Any:
        """The TFP distribution; its event is the whole weight tensor."""

    def noise(self, key: Tensor) -> Tensor:
        """`sample(key) - loc`."""
        return self.sample(key) - tf.convert_to_tensor(self.loc)

    def before_draws(self) -> Any:
        """What `draws` finds as `random.known(self)`, computed once."""
        return None

    def draws(self, keys: Tensor, signs: Tensor | None = None) -> Tensor:
        """One draw for each of `keys [S, 2]`: `[S, *shape]`, for prediction.

        Args:
            keys: as above.
            signs: of each draw's noise, `[S]`; None for 1.
        """
        loc = tf.convert_to_tensor(self.loc)
        found = tf.map_fn(self.sample, keys, fn_output_signature=loc.dtype)
        if signs is None:
            return found
        shape = [-1] + [1] * len(loc.shape)
        return loc + tf.reshape(tf.cast(signs, loc.dtype), shape) * (
            found - loc
        )

    def variance(self) -> Tensor:
        """The variance of each element."""
        raise NotImplementedError(
            f"`{type(self).__name__}` has no elementwise variance."
        )

    def prune(self, keep: Array) -> None:
        """Makes the elements where `keep` is False 0, without noise."""
        del keep
        raise NotImplementedError(
            f"`{type(self).__name__}` cannot lose single weights."
        )

    def loc_and_noise(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """What Flipout asks for, in one call so that it can be one pass."""
        return tf.convert_to_tensor(self.loc), self.noise(key)

    def loc_and_variance(self) -> tuple[Tensor, Tensor]:
        """What local reparameterization asks for, likewise."""
        return tf.convert_to_tensor(self.loc), self.variance()


class _LocFamily(Family):
    """What families with a free location share."""

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


@_registry.register
class MeanFieldNormal(_LocFamily):
    """Independent Normals: `w = loc + scale * eps`, one pair per weight.

    `scale = 1.2e-7 + softplus(untransformed_scale)`. The defaults are those of
    TFP's `default_mean_field_normal_fn`: scales start at about 0.0486.

    Args:
        loc_initializer: default `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: default
            `RandomNormal(mean=-3.0, stddev=0.1)`.
        loc_regularizer: a Keras regularizer, beside the KL.
        loc_constraint: a Keras constraint.
        untransformed_scale_regularizer: a Keras regularizer.
        untransformed_scale_constraint: a Keras constraint.

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

    independent_normal = True
    symmetric_independent = True

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
            loc_initializer, loc_regularizer, loc_constraint, **kwargs
        )
        # Set by a prior that is Normal about zero: fused passes prepare its KL.
        self.prior_precision: float | None = None
        self.kept_kl = fused.KeptTensor()
        self.untransformed_scale_initializer = initializers.get(
            untransformed_scale_initializer
            or initializers.RandomNormal(mean=-3.0, stddev=0.1)
        )
        self.untransformed_scale_regularizer = regularizers.get(
            untransformed_scale_regularizer
        )
        self.untransformed_scale_constraint = constraints.get(
            untransformed_scale_constraint
        )

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        super().build(shape, loc)
        self.untransformed_scale = self.add_parameter(
            "untransformed_scale",
            shape,
            self.untransformed_scale_initializer,
            regularizer=self.untransformed_scale_regularizer,
            constraint=self.untransformed_scale_constraint,
        )

    def _parameters(self) -> tuple[Tensor, Tensor]:
        return (
            tf.convert_to_tensor(self.loc),
            tf.convert_to_tensor(self.untransformed_scale),
        )

    @property
    def scale(self) -> Tensor:
        """The standard deviations, in the dtype of the variables."""
        _, untransformed = self._parameters()
        return fused.SCALE_FLOOR + tf.math.softplus(untransformed)

    def sample(self, key: Tensor) -> Tensor:
        loc, untransformed = self._parameters()
        if not fused.is_enabled(untransformed):
            return loc + self.noise(key)
        if not fused.prepares_kl():
            return fused.normal_sample(loc, untransformed, key)
        draw, kl = fused.normal_sample_and_kl(
            loc, untransformed, key, self._precision(loc)
        )
        self.kept_kl.keep(kl)
        return draw

    def draws(self, keys: Tensor, signs: Tensor | None = None) -> Tensor:
        loc, scale = random.known(self) or self.before_draws()
        if signs is None:
            signs = tf.ones(tf.shape(keys)[:1], loc.dtype)
        return fused.normal_draws(loc, scale, keys, signs)

    def before_draws(self) -> tuple[Tensor, Tensor]:
        return tf.convert_to_tensor(self.loc), self.scale

    def noise(self, key: Tensor) -> Tensor:
        _, untransformed = self._parameters()
        standard = random.normal(key, untransformed.shape, untransformed.dtype)
        return self.scale * standard

    def variance(self) -> Tensor:
        return tf.square(self.scale)

    def prune(self, keep: Array) -> None:
        loc, untransformed = self._parameters()
        self.loc.assign(tf.where(keep, loc, 0))
        self.untransformed_scale.assign(tf.where(keep, untransformed, _SILENT))

    def loc_and_noise(self, key: Tensor) -> tuple[Tensor, Tensor]:
        loc, untransformed = self._parameters()
        if not fused.is_enabled(untransformed):
            return loc, self.noise(key)
        loc, noise, kl = fused.normal_noise_and_kl(
            loc, untransformed, key, self._precision(loc)
        )
        self.kept_kl.keep(kl)
        return loc, noise

    def loc_and_variance(self) -> tuple[Tensor, Tensor]:
        loc, untransformed = self._parameters()
        if not fused.is_enabled(untransformed):
            return loc, self.variance()
        loc, variance, kl = fused.normal_variance_and_kl(
            loc, untransformed, self._precision(loc)
        )
        self.kept_kl.keep(kl)
        return loc, variance

    def _precision(self, loc: Tensor) -> Tensor:
        return tf.constant(self.prior_precision or 0.0, loc.dtype)

    def distribution(self) -> Any:
        loc, _ = self._parameters()
        normal = tfp.distributions.Normal(loc, self.scale)
        return tfp.distributions.Independent(normal, len(loc.shape))

    def get_config(self) -> Config:
        return super().get_config() | {
            "untransformed_scale_initializer": initializers.serialize(
                self.untransformed_scale_initializer
            ),
            "untransformed_scale_regularizer": regularizers.serialize(
                self.untransformed_scale_regularizer
            ),
            "untransformed_scale_constraint": constraints.serialize(
                self.untransformed_scale_constraint
            ),
        }


@_registry.register
class PointEstimate(_LocFamily):
    """A single point: an ordinary weight, without uncertainty.

    With a prior, its divergence is the negative log density of the prior at
    the point, so that the point is a maximum-a-posteriori estimate.

    Args:
        loc_initializer: default `RandomNormal(stddev=0.1)`.
        loc_regularizer: a Keras regularizer.
        loc_constraint: a Keras constraint.
    """

    is_random = False
    independent_normal = True
    symmetric_independent = True

    def sample(self, key: Tensor) -> Tensor:
        del key
        return tf.convert_to_tensor(self.loc)

    def variance(self) -> Tensor:
        return tf.zeros_like(tf.convert_to_tensor(self.loc))

    def distribution(self) -> Any:
        loc = tf.convert_to_tensor(self.loc)
        point = tfp.distributions.Deterministic(loc)
        return tfp.distributions.Independent(point, len(loc.shape))


_FAMILIES: dict[str, type[Family]] = {
    "mean_field_normal": MeanFieldNormal,
    "point_estimate": PointEstimate,
}


def get(identifier: Identifier, argument: str = "posterior") -> Family | None:
    """A posterior family by name, config or object; None stays None.

    Args:
        identifier: "mean_field_normal", "point_estimate", a config, an
            instance of `Family`, or None.
        argument: how error messages call the argument.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
        TypeError: for something that is not a family.
    """
    return _registry.get(identifier, Family, _FAMILIES, argument)
