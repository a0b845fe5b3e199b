"""Defines priors and posteriors at pretrained weights."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, positive, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.families import Family, LowRankNormal, MeanFieldNormal
from tfpbnn.priors.base import check_scale, scale_for
from tfpbnn.priors.normal import NormalPrior

# The least scale of `moped`, in units of a typical one: zeros have none.
_LEAST = 1e-3


@registry.register("priors")
class MOPED(NormalPrior):
    """Independent Normals about weights that were trained before.

    Their means, `loc`, are a variable that is not trained, and is saved with
    the model. It starts at the posterior's `loc`, so the layer's initializer
    can bring pretrained weights; `tfpbnn.priors.moped` moves prior and
    posterior of a built layer to given weights.

    Args:
        scale: the standard deviation, a positive number, or "he" for
            `sqrt(2 / fan_in)`.
        learnable_loc: whether the means are learned with the posterior.

    Raises:
        ValueError: if `scale` is neither.

    Example:
    ```python
    trained = keras.layers.Dense(8)
    trained.build((None, 4))
    layer = tfpbnn.layers.DenseFlipout(8, kernel_prior="moped")
    layer.build((None, 4))
    tfpbnn.priors.moped(layer, kernel=trained.kernel, bias=trained.bias)
    ```

    Reference:
        [Krishnan et al., 2020](https://arxiv.org/abs/1906.05323)
    """

    def __init__(
        self,
        scale: float | str = 1.0,
        learnable_loc: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.learnable_loc = bool(learnable_loc)
        self.initial_scale = check_scale("scale", scale)
        self._initial_loc: str | Callable[..., Tensor] = "zeros"

    def build_for(self, posterior: Family) -> None:
        # Not as an attribute: Keras would count it among this layer's weights.
        self._initial_loc = lambda _, dtype: tf.cast(
            tf.convert_to_tensor(posterior.loc), dtype
        )
        super().build_for(posterior)

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.fixed_scale = scale_for(self.initial_scale, self.weight_shape)
        self.loc = self.add_parameter(
            "loc", shape, self._initial_loc, trainable=self.learnable_loc
        )

    @property
    def scale(self) -> Tensor:
        return tf.constant(self.fixed_scale, self.parameter_dtype)

    def get_config(self) -> Config:
        return super().get_config() | {
            "scale": self.initial_scale,
            "learnable_loc": self.learnable_loc,
        }


def moped(layer: Any, *, delta: float = 0.1, **weights: Any) -> None:
    """Moves posteriors, and `MOPED` priors, of a layer to pretrained weights.

    The `loc` of the posterior, and of the prior if it is a `MOPED`, is set to
    the weight. Scales are set to `delta |weight|`, but at least a thousandth of
    a typical one; those of families without a scale for each weight stay.

    Args:
        layer: a built variational layer.
        delta: the scales relative to the weights, a positive number.
        **weights: arrays or variables, by the layer's names of its weights,
            such as `kernel` and `bias`.

    Raises:
        ValueError: if `delta` is not positive, or the layer is not built or has
            no posterior of such a name or shape.
    """
    checks.positive_number("delta", delta)
    for name, weight in weights.items():
        posterior = getattr(layer, f"{name}_posterior", None)
        if posterior is None or not posterior.built:
            raise ValueError(
                f"`layer` must be built and have a posterior of its {name}. "
                f"Received: layer={layer!r}, which has none (yet)."
            )
        value = keras.ops.convert_to_numpy(weight)
        if value.shape != tuple(posterior.loc.shape):
            raise ValueError(
                f"`{name}` must have the shape of the layer's, "
                f"{tuple(posterior.loc.shape)}. Received: an array of shape "
                f"{value.shape}"
            )
        posterior.loc.assign(value)
        prior = getattr(layer, f"{name}_prior")
        if isinstance(prior, MOPED):
            prior.loc.assign(value)
        if isinstance(posterior, MeanFieldNormal | LowRankNormal):
            scale = _relative_scale(value, delta)
            posterior.untransformed_scale.assign(positive.untransformed(scale))


def _relative_scale(value: Array, delta: float) -> Array:
    typical = np.sqrt(np.mean(np.square(value)))
    least = max(_LEAST * typical, np.finfo(np.float32).tiny)
    return delta * np.maximum(np.abs(value), least)
