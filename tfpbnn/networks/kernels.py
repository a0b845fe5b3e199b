"""Which layers have kernels, as a rule of their weights."""

from typing import Any

import keras

from tfpbnn.base.keras_private import held_layers
from tfpbnn.networks.reading import is_ours


def has_kernel(layer: Any) -> bool:
    """Whether a layer multiplies its inputs with a kernel of its own.

    A recurrent layer has those of its cells. Of Keras's layers the names of
    weights say so; of others any weight that is no vector is taken for one.
    """
    if is_cell(layer):
        return False
    held = held_layers(layer)
    cells = [part for part in held if is_cell(part)]
    others = {id(v) for part in held if part not in cells for v in part.weights}
    own = [v for v in layer.weights if id(v) not in others]
    return any(
        len(v.shape) > 1 and (not is_ours(layer) or "kernel" in v.name)
        for v in own
    )


def kernels_in(layer: Any) -> list[Any]:
    """The layers with kernels that a layer holds, itself left out."""
    return [part for part in held_layers(layer) if has_kernel(part)]


def is_cell(layer: Any) -> bool:
    """Whether a layer is what a recurrent layer calls at each time step."""
    return hasattr(layer, "state_size") and not isinstance(
        layer, keras.layers.RNN
    )
