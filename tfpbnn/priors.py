"""Priors over a layer's weights.

How to add one: subclass `Prior`, give it `distribution`, and add it to
`_PRIORS`. Parameters that are learned from the data are variables made in
`build`.
"""

import abc
import math
from typing import Any

import tensorflow as tf

from tfpbnn import _registry
from tfpbnn._tfp import tfp
from tfpbnn.types import Config, Identifier, Tensor


def _positive(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and 0 < value < math.inf):
        raise ValueError(
            f"`{name}` must be a positive, finite number. Received: "
            f"{name}={value!r}"
        )
    return float(value)


class Prior(_registry.Template):
    """A distribution over one weight tensor, before the data."""

    def build(self, shape: Any) -> None:
        """Makes the variables, if any, for weights of `shape`."""
        self.weight_shape = tuple(shape)

    @abc.abstractmethod
    def distribution(self) -> Any:
        """The TFP distribution; its event is the whole weight tensor."""


@_registry.register
class Normal(Prior):
    """Independent Normals with one location and one scale.

    Args:
        loc: the mean, a number.
        scale: the standard deviation, a positive number.
        learnable_scale: whether the scale is learned with the posterior
            (empirical Bayes); `scale` is then where it starts.

    Raises:
        ValueError: if `loc` is not finite, or `scale` is not positive.

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
        scale: float = 1.0,
        learnable_scale: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not (isinstance(loc, int | float) and math.isfinite(loc)):
            raise ValueError(
                f"`loc` must be a finite number. Received: loc={loc!r}"
            )
        self.initial_loc = float(loc)
        self.initial_scale = _positive("scale", scale)
        self.learnable_scale = bool(learnable_scale)

    def build(self, shape: Any) -> None:
        super().build(shape)
        if self.learnable_scale:
            # The inverse of softplus, stable for large scales.
            start = self.initial_scale + math.log(
                -math.expm1(-self.initial_scale)
            )
            self.untransformed_scale = self.add_parameter(
                "untransformed_scale",
                (),
                lambda shape, dtype: tf.fill(shape, tf.cast(start, dtype)),
            )

    @property
    def loc(self) -> Tensor:
        return tf.constant(self.initial_loc, self.parameter_dtype)

    @property
    def scale(self) -> Tensor:
        if self.learnable_scale:
            raw = tf.convert_to_tensor(self.untransformed_scale)
            return tf.math.softplus(raw)
        return tf.constant(self.initial_scale, self.parameter_dtype)

    def distribution(self) -> Any:
        # Not by tfd.BatchBroadcast, which has no closed-form KL in TFP 0.25.
        normal = tfp.distributions.Normal(
            tf.broadcast_to(self.loc, self.weight_shape),
            tf.broadcast_to(self.scale, self.weight_shape),
        )
        return tfp.distributions.Independent(normal, len(self.weight_shape))

    def get_config(self) -> Config:
        return super().get_config() | {
            "loc": self.initial_loc,
            "scale": self.initial_scale,
            "learnable_scale": self.learnable_scale,
        }


@_registry.register
class ScaleMixture(Prior):
    """A mixture of two Normals about zero: most weights small, some large.

    `p(w) = pi N(w; 0, scale1^2) + (1 - pi) N(w; 0, scale2^2)`. It has no
    closed-form KL: the cross entropy is estimated with a fresh draw.

    Args:
        pi: the weight of the first component, between 0 and 1.
        scale1: the standard deviation of the first component.
        scale2: that of the second, usually much smaller.

    Raises:
        ValueError: if `pi` is outside of (0, 1) or a scale is not positive.

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424), section 3.3,
        whose ranges are pi in {1/4, 1/2, 3/4}, -log scale1 in {0, 1, 2} and
        -log scale2 in {6, 7, 8}.
    """

    def __init__(
        self,
        pi: float = 0.5,
        scale1: float = 1.0,
        scale2: float = math.exp(-6.0),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not (isinstance(pi, int | float) and 0 < pi < 1):
            raise ValueError(
                f"`pi` must be between 0 and 1, exclusive. Received: pi={pi!r}"
            )
        self.pi = float(pi)
        self.scale1 = _positive("scale1", scale1)
        self.scale2 = _positive("scale2", scale2)

    def distribution(self) -> Any:
        dtype = self.parameter_dtype
        mixture = tfp.distributions.MixtureSameFamily(
            tfp.distributions.Categorical(
                probs=tf.constant([self.pi, 1 - self.pi], dtype)
            ),
            tfp.distributions.Normal(
                tf.zeros([2], dtype),
                tf.constant([self.scale1, self.scale2], dtype),
            ),
        )
        return tfp.distributions.Sample(mixture, self.weight_shape)

    def get_config(self) -> Config:
        return super().get_config() | {
            "pi": self.pi,
            "scale1": self.scale1,
            "scale2": self.scale2,
        }


@_registry.register
class MOPED(Prior):
    """Independent Normals about given weights, one location for each.

    The locations are weights of the layer, saved with it and zero until they
    are set: by `tfpbnn.to_variational(model, moped=True)`, or by
    `layer.kernel_prior.loc.assign(...)` on a built layer.

    Args:
        scale: the standard deviation, a positive number.
        learnable_loc: whether the locations are learned with the posterior.

    Raises:
        ValueError: if `scale` is not positive.

    Example:
    ```python
    layer = tfpbnn.layers.DenseFlipout(
        8, kernel_prior=tfpbnn.priors.MOPED(scale=0.5)
    )
    layer.build((None, 4))
    layer.kernel_prior.loc.assign(layer.kernel_posterior.loc)
    ```

    Reference:
        [Krishnan et al., 2020](https://arxiv.org/abs/1906.05323)
    """

    def __init__(
        self, scale: float = 1.0, learnable_loc: bool = False, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.scale = _positive("scale", scale)
        self.learnable_loc = bool(learnable_loc)

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.loc = self.add_parameter(
            "loc", shape, "zeros", trainable=self.learnable_loc
        )

    def distribution(self) -> Any:
        loc = tf.convert_to_tensor(self.loc)
        normal = tfp.distributions.Normal(loc, tf.cast(self.scale, loc.dtype))
        return tfp.distributions.Independent(normal, len(self.weight_shape))

    def get_config(self) -> Config:
        return super().get_config() | {
            "scale": self.scale,
            "learnable_loc": self.learnable_loc,
        }


_PRIORS: dict[str, type[Prior]] = {
    "normal": Normal,
    "moped": MOPED,
    "scale_mixture": ScaleMixture,
}


def get(identifier: Identifier, argument: str = "prior") -> Prior | None:
    """A prior by name, config or object; None stays None (no KL).

    Args:
        identifier: "moped", "normal", "scale_mixture", a config, an
            instance of `Prior`, or None.
        argument: how error messages call the argument.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
        TypeError: for something that is not a prior.
    """
    return _registry.get(identifier, Prior, _PRIORS, argument)
