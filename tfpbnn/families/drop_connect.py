"""Defines weights that are randomly dropped."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base import checks, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Config, Identifier, Tensor
from tfpbnn.families.base import LocFamily


@registry.register("families")
class DropConnect(LocFamily):
    """Weights that are 0 with probability `rate`, else `loc / (1 - rate)`.

    The mean is `loc`. As the posterior of a `Reparameterization` layer this is
    DropConnect, in prediction too. A prior then acts as a decay of the weights.

    Args:
        rate: the probability to drop a weight, from 0 to below 1.
        loc_initializer: the initializer of `loc`; None for "glorot_uniform",
            as in Keras.
        loc_regularizer: a Keras regularizer.
        loc_constraint: a Keras constraint.

    Raises:
        ValueError: if `rate` is not from 0 to below 1.

    Example:
    ```python
    layer = tfpbnn.layers.EinsumDenseReparameterization(
        "ab,bc->ac",
        8,
        kernel_posterior=tfpbnn.families.DropConnect(0.1),
        kernel_prior=None,
    )
    layer(x)
    ```

    Reference:
        [Wan et al., 2013](https://proceedings.mlr.press/v28/wan13.html)
    """

    def __init__(
        self,
        rate: float = 0.5,
        loc_initializer: Identifier = None,
        loc_regularizer: Identifier = None,
        loc_constraint: Identifier = None,
        **kwargs: Any,
    ):
        super().__init__(
            loc_initializer or "glorot_uniform",
            loc_regularizer,
            loc_constraint,
            **kwargs,
        )
        self.rate = checks.rate("rate", rate)

    def _masked(self, numbers: random.RandomNumbers) -> Tensor:
        loc = tf.convert_to_tensor(self.loc)
        kept = numbers.kept(self.rate, loc.dtype)
        return loc * (kept * (1 / (1 - self.rate)))

    def sample(self, key: Tensor | None = None) -> Tensor:
        key = random.key_or_new(key)
        return self._masked(random.RandomNumbers(key, self.loc.shape))

    def draws(self, keys: Tensor) -> Tensor:
        if self.has_own_draws:
            return super().draws(keys)
        shape = self.loc.shape
        rows = tf.zeros([1], tf.int64)
        normals = fused.normal_grid(keys, rows, math.prod(shape))
        normals = tf.reshape(normals, [-1, *shape])
        return self._masked(random.RandomNumbers(None, normals=normals))

    def variance(self) -> Tensor:
        loc = tf.convert_to_tensor(self.loc)
        return tf.square(loc) * (self.rate / (1 - self.rate))

    def prune(self, keep: Array) -> None:
        self.loc.assign(tf.where(keep, tf.convert_to_tensor(self.loc), 0))

    def entropy(self) -> Tensor:
        """Computes the entropy of which weights are dropped: a constant."""
        terms = [p * math.log(p) for p in (self.rate, 1 - self.rate) if p]
        size = math.prod(self.loc.shape)
        return tf.constant(-size * sum(terms), self.parameter_dtype)

    def distribution(self) -> Any:
        loc = tf.convert_to_tensor(self.loc)
        points = tf.stack([tf.zeros_like(loc), loc * (1 / (1 - self.rate))], -1)
        mixture = tfp.distributions.MixtureSameFamily(
            tfp.distributions.Categorical(
                probs=tf.constant([self.rate, 1 - self.rate], loc.dtype)
            ),
            # Within rounding: what XLA makes of `sample` may be an ulp off.
            tfp.distributions.Deterministic(points, rtol=1e-5),
        )
        return tfp.distributions.Independent(mixture, len(loc.shape))

    def get_config(self) -> Config:
        return super().get_config() | {"rate": self.rate}
