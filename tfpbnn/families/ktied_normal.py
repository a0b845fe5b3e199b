"""Defines independent Normals whose scales have a low-rank factorization."""

from typing import Any

import keras
import tensorflow as tf
from keras import initializers

from tfpbnn.base import positive, registry
from tfpbnn.base.types import Tensor
from tfpbnn.families.base import IndependentNormal, RankFamily

# The relative spread of factors at the start: equal ones would stay equal.
_SPREAD = 0.1


@registry.register("families")
class KTiedNormal(IndependentNormal, RankFamily):
    """Independent Normals whose scales are a product of low rank.

    The kernel is seen as a matrix `[inputs, units]` (its last axis are the
    units). Its scales are a product of positive matrices `[inputs, rank]` and
    `[rank, units]`. So there are hardly more variables than in a plain layer,
    and gradients of the scales are less noisy, since many weights share each
    factor. With `rank=1` the scales are those of a matrix Normal with diagonal
    covariances (`MatrixNormal` has full ones).

    Args:
        rank: the rank of the product, a positive integer.
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: the initializer of scales, as in
            `MeanFieldNormal`, of which the geometric mean is taken.
        loc_regularizer: a Keras regularizer, in addition to the KL.
        loc_constraint: a Keras constraint.

    Raises:
        ValueError: if `rank` is not a positive integer.

    Example:
    ```python
    layer = tfpbnn.layers.DenseFlipout(
        8, kernel_posterior=tfpbnn.families.KTiedNormal(rank=2)
    )
    y = layer(x)
    ```

    Reference:
        [Swiatkowski et al., 2020](https://arxiv.org/abs/2002.02655)
    """

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        super().build(shape, loc)
        inputs, units = positive.matrix_shape(shape)

        def initializer(factor_shape: Any, dtype: Any) -> Tensor:
            return self._initial_factor(shape, factor_shape, dtype)

        self.untransformed_rows = self.add_parameter(
            "untransformed_rows", (inputs, self.rank), initializer
        )
        self.untransformed_columns = self.add_parameter(
            "untransformed_columns", (self.rank, units), initializer
        )

    def _initial_factor(self, shape: Any, factor_shape: Any, dtype: Any) -> Any:
        typical = self._typical_scale(shape, dtype)
        spread = initializers.RandomNormal(stddev=_SPREAD)
        factor = tf.exp(spread(factor_shape, dtype=dtype))
        return positive.untransformed(tf.sqrt(typical / self.rank) * factor)

    @property
    def scale(self) -> Tensor:
        rows, columns = (
            tf.math.softplus(tf.convert_to_tensor(factor))
            for factor in (self.untransformed_rows, self.untransformed_columns)
        )
        matrix = positive.SCALE_FLOOR + tf.matmul(rows, columns)
        return tf.reshape(matrix, self.loc.shape)
