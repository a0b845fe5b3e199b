"""What prediction knows of a layer whose outputs differ between draws."""

from typing import Any

import keras

from tfpbnn import random
from tfpbnn.base.types import Tensor
from tfpbnn.layers.noise import Noise


def is_variational(layer: keras.layers.Layer) -> bool:
    """Whether the layer is, or contains, a variational one."""
    # Every variational layer has a KL weight.
    return any(hasattr(v, "is_managed") for v in layer.variables)


class RandomLayer(keras.layers.Layer):
    """A layer whose outputs differ between draws.

    Attributes:
        noise: the layer's random numbers; None where draws are members.
        draws_weights: whether a draw takes a random number for each weight.
        num_members: the count of networks that share the layer.
        num_draws: the count of draws that differ; None if there is no end.
    """

    noise: Noise | None = None
    draws_weights = True
    num_members = 1
    num_draws: int | None = None

    def stacks(self) -> bool:
        """Whether the layer takes S draws at once: see `random.DrawScope`."""
        return False

    def stacks_by_row(self, input_shape: Any) -> bool:
        """Whether it does so in the order of rows too."""
        return False

    def rows_can_be_drawn_apart(self, input_shape: Any) -> bool:
        """Whether it takes rows that are drawn apart, exactly for each row."""
        return False

    def _draw_key(self) -> Tensor | None:
        """The key of this call's draw; None asks for what has no noise."""
        scope = random.current_scope()
        if scope is not None:
            return scope.key_for(self)
        return None if self.noise is None else self.noise.next_key()
