"""Path lengths that suit the widest direction."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array, Tensor
from tfpbnn.mcmc.kernels.pooled import PooledHMC


class SNAPER(PooledHMC):
    """Paths that mix along the principal component of the chains.

    Reference:
        [Sountsov and Hoffman, 2021](https://arxiv.org/abs/2110.11576)
    """

    def _criterion(
        self,
        start: Tensor,
        end: Tensor,
        accept: Tensor,
        length: Tensor,
        direction: Any,
    ) -> Tensor:
        return tfp.experimental.mcmc.snaper_criterion(
            start, end, accept, length, direction
        )

    def _direction(self, view: Array) -> Array:
        size = view.shape[-1]
        return np.full([size], size**-0.5, view.dtype)

    def _turned(self, direction: Any, view: Tensor, share: Tensor) -> Any:
        """One step of Oja's method towards the widest direction."""
        along = tf.linalg.matvec(view, direction)
        new = _unit(tf.linalg.matvec(view, along, transpose_a=True))
        return _unit(direction + share * (new - direction))


def _unit(vector: Tensor) -> Tensor:
    return tf.math.divide_no_nan(vector, tf.norm(vector))
