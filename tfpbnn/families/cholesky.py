"""Defines triangular factors of covariance matrices."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpbnn.base import positive, template
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor


class CholeskyFactor:
    """`diag(scale) (I + lower)`: a triangular matrix, by variables of a family.

    The rows of `lower` are in units of the row's scale, so one step length
    fits all, and the determinant is that of the scales.
    """

    def __init__(
        self,
        family: template.Template,
        name: str,
        size: int,
        initial_scale: Callable[[Any, Any], Tensor],
    ):
        """Makes the variables.

        Args:
            family: the family that owns the variables.
            name: the beginning of the variables' names.
            size: the number of rows of the matrix.
            initial_scale: a function of (shape, dtype) that returns one scale,
                or one for each row.
        """

        def initializer(shape: Any, dtype: Any) -> Tensor:
            scale = initial_scale(shape, dtype)
            return tf.broadcast_to(positive.untransformed(scale), shape)

        self.size = size
        self._untransformed_scale = family.add_parameter(
            f"{name}_untransformed_scale", (size,), initializer
        )
        # A matrix of one row has nothing below its diagonal.
        self._lower = (
            family.add_parameter(
                f"{name}_lower", (size * (size - 1) // 2,), "zeros"
            )
            if size > 1
            else None
        )

    def _scale(self) -> Tensor:
        return positive.positive(
            tf.convert_to_tensor(self._untransformed_scale)
        )

    def matrix(self) -> Tensor:
        scale = self._scale()
        unit = tf.eye(self.size, dtype=scale.dtype)
        if self._lower is not None:
            packed = tf.convert_to_tensor(self._lower)
            lower = tfp.math.fill_triangular(packed)
            unit += tf.pad(lower, [[1, 0], [0, 1]])
        return scale[:, tf.newaxis] * unit

    def assign(self, matrix: Tensor) -> None:
        """Sets the variables, to give a triangular matrix."""
        scale = tf.linalg.diag_part(matrix)
        self._untransformed_scale.assign(
            positive.untransformed(scale - positive.SCALE_FLOOR)
        )
        if self._lower is not None:
            lower = (matrix / scale[:, tf.newaxis])[1:, :-1]
            lower = tf.linalg.band_part(lower, -1, 0)
            self._lower.assign(tfp.math.fill_triangular_inverse(lower))

    def variance(self) -> Tensor:
        """Computes the diagonal of the covariance."""
        return tf.reduce_sum(tf.square(self.matrix()), axis=1)

    def log_determinant(self) -> Tensor:
        """Computes the log determinant of the factor, half the covariance's."""
        return tf.reduce_sum(tf.math.log(self._scale()))
