"""Finds which layers have kernels, by a rule of their weights."""

from typing import Any

import keras

from tfpbnn.base.keras_private import held_layers
from tfpbnn.networks.reading import is_ours


def has_kernel(layer: Any) -> bool:
    """Says whether a layer multiplies its inputs with its own kernel.

    A recurrent layer has the kernels of its cells. For Keras's layers the names
    of weights decide; in other layers every weight that is no vector is a
    kernel.
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
    """Lists the layers with kernels that a layer holds, without itself."""
    return [part for part in held_layers(layer) if has_kernel(part)]


def is_cell(layer: Any) -> bool:
    """Says whether a recurrent layer calls this layer at each time step."""
    return hasattr(layer, "state_size") and not isinstance(
        layer, keras.layers.RNN
    )
