"""Defines layers whose outputs differ between draws, for prediction."""

import math
from typing import Any

import keras

from tfpbnn import random
from tfpbnn.base.types import Tensor
from tfpbnn.layers.kl import is_weight
from tfpbnn.layers.noise import Noise


def is_variational(layer: keras.layers.Layer) -> bool:
    """Says whether the layer is, or contains, a variational one."""
    # Every variational layer has a KL weight.
    return any(map(is_weight, layer.variables))


class RandomLayer(keras.layers.Layer):
    """A layer whose outputs differ between draws.

    Attributes:
        noise: the layer's random numbers; None where draws are members.
        num_members: the number of networks that share the layer.
    """

    noise: Noise | None = None
    num_members = 1

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        """Says what the layer can do in a `random.DrawScope`.

        Args:
            input_shape: the shape of a call's inputs, with the batch's axis; if
                None, only `is_random` and `num_draws` of the result are sure.
        """
        weights = self.trainable_variables
        return random.Drawing(
            num_normals=sum(math.prod(v.shape) for v in weights)
        )

    def _draw_key(self) -> Tensor | None:
        """Returns the key of this call's draw; None for no noise."""
        scope = random.current_scope()
        if scope is not None:
            return scope.key_for(self)
        return None if self.noise is None else self.noise.next_key()
