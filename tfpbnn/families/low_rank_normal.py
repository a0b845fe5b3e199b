"""Defines Normals whose weights share a few random factors."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import initializers

from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families.base import NORMAL_ENTROPY, RankFamily, reshaped

# The share of the factors in the variance at the start. It is not zero, where
# their gradient has mean zero.
_FACTORS_SHARE = 0.1


@registry.register("families")
class LowRankNormal(RankFamily):
    """A Normal with covariance `diag(scale^2) + factor factor^T`.

    `w = loc + scale * eps + factor z`, with `rank` numbers z that all weights
    share. The columns of `factor` are directions in which weights trade off
    against each other, which independent Normals miss. There are `rank + 2`
    variables per weight.

    Args:
        rank: the number of columns of `factor`, a positive integer.
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: the initializer of `scale`, as in
            `MeanFieldNormal`; `factor` starts at random with a tenth of that
            variance.
        loc_regularizer: a Keras regularizer, in addition to the KL.
        loc_constraint: a Keras constraint.

    Raises:
        ValueError: if `rank` is not a positive integer.

    Example:
    ```python
    layer = tfpbnn.layers.DenseReparameterization(
        8, kernel_posterior=tfpbnn.families.LowRankNormal(rank=4)
    )
    y = layer(x)
    ```

    Reference:
        [Ong et al., 2018](https://arxiv.org/abs/1701.03208)
    """

    is_normal = True

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        super().build(shape, loc)
        self._add_untransformed_scale(shape)
        self.factor = self.add_parameter(
            "factor", (*shape, self.rank), self._initial_factor
        )

    def _initial_factor(self, shape: Any, dtype: Any) -> Tensor:
        spread = initializers.RandomNormal(
            stddev=math.sqrt(_FACTORS_SHARE / self.rank)
        )
        scale = self._initial_scale(shape[:-1], dtype)
        return scale[..., tf.newaxis] * spread(shape, dtype=dtype)

    def noise(self, key: Tensor) -> Tensor:
        factor = tf.convert_to_tensor(self.factor)
        own = self._standard(random.fold(key, 0), self.loc.shape)
        shared = self._standard(random.fold(key, 1), [self.rank])
        return self.scale * own + tf.linalg.matvec(factor, shared)

    def variance(self) -> Tensor:
        factor = tf.convert_to_tensor(self.factor)
        return tf.square(self.scale) + tf.reduce_sum(tf.square(factor), axis=-1)

    def entropy(self) -> Tensor:
        """Computes the entropy, by the determinant lemma."""
        scale = self.scale
        relative = tf.convert_to_tensor(self.factor) / scale[..., tf.newaxis]
        relative = tf.reshape(relative, [-1, self.rank])
        inner = tf.matmul(relative, relative, transpose_a=True)
        inner += tf.eye(self.rank, dtype=inner.dtype)
        diagonal = tf.linalg.diag_part(tf.linalg.cholesky(inner))
        independent = tf.reduce_sum(tf.math.log(scale) + NORMAL_ENTROPY)
        return independent + tf.reduce_sum(tf.math.log(diagonal))

    def distribution(self) -> Any:
        flat = tfp.distributions.MultivariateNormalDiagPlusLowRankCovariance(
            loc=tf.reshape(tf.convert_to_tensor(self.loc), [-1]),
            cov_diag_factor=tf.reshape(tf.square(self.scale), [-1]),
            cov_perturb_factor=tf.reshape(
                tf.convert_to_tensor(self.factor), [-1, self.rank]
            ),
        )
        return reshaped(flat, self.loc.shape)
