"""Defines Normals with one covariance of inputs and one of units."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import positive, registry
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.families.base import NORMAL_ENTROPY, ScaleFamily, reshaped
from tfpbnn.families.cholesky import CholeskyFactor


@registry.register("families")
class MatrixNormal(ScaleFamily):
    """A Normal with covariance `rows rows^T` (x) `columns columns^T`.

    The kernel is seen as a matrix `[inputs, units]` (its last axis are the
    units). `W = loc + rows E columns^T` with standard normals E and triangular
    factors can have any correlation among inputs, and any among units. It takes
    `(inputs^2 + units^2) / 2` variables, and two matrix products per draw; for
    diagonal factors see `KTiedNormal(rank=1)`.

    Args:
        loc_initializer: the initializer of `loc`; None for
            `RandomNormal(stddev=0.1)`.
        untransformed_scale_initializer: the initializer of standard
            deviations, as in `MeanFieldNormal`, of which the geometric mean is
            taken.
        loc_regularizer: a Keras regularizer, in addition to the KL.
        loc_constraint: a Keras constraint.

    Example:
    ```python
    layer = tfpbnn.layers.DenseReparameterization(
        8, kernel_posterior="matrix_normal"
    )
    y = layer(x)
    ```

    Reference:
        [Louizos and Welling, 2016](https://arxiv.org/abs/1603.04733), whose
        covariances are diagonal
    """

    is_normal = True

    def build(self, shape: Any, loc: keras.Variable | None = None) -> None:
        super().build(shape, loc)
        inputs, units = positive.matrix_shape(shape)

        def start(_: Any, dtype: Any) -> Tensor:
            return tf.sqrt(self._typical_scale(shape, dtype))

        self.rows = CholeskyFactor(self, "rows", inputs, start)
        self.columns = CholeskyFactor(self, "columns", units, start)

    def noise(self, key: Tensor) -> Tensor:
        rows, columns = self.rows.matrix(), self.columns.matrix()
        standard = self._standard(key, [self.rows.size, self.columns.size])
        matrix = tf.matmul(tf.matmul(rows, standard), columns, transpose_b=True)
        return tf.reshape(matrix, self.loc.shape)

    def variance(self) -> Tensor:
        rows, columns = self.rows.variance(), self.columns.variance()
        return tf.reshape(rows[:, tf.newaxis] * columns, self.loc.shape)

    @property
    def scale(self) -> Tensor:
        return tf.sqrt(self.variance())

    def entropy(self) -> Tensor:
        inputs, units = self.rows.size, self.columns.size
        return (
            inputs * units * NORMAL_ENTROPY
            + units * self.rows.log_determinant()
            + inputs * self.columns.log_determinant()
        )

    def distribution(self) -> Any:
        triangular = tf.linalg.LinearOperatorLowerTriangular
        matrix = tfp.distributions.MatrixNormalLinearOperator(
            tf.reshape(
                tf.convert_to_tensor(self.loc),
                [self.rows.size, self.columns.size],
            ),
            triangular(self.rows.matrix()),
            triangular(self.columns.matrix()),
        )
        return reshaped(matrix, self.loc.shape)
