"""Calls functions in the context that Keras makes for calls of layers."""

from collections.abc import Callable
from typing import Any

import keras


class _Within(keras.layers.Layer):
    """Calls a function as if it were a layer's code.

    The function reads variables as they are stored, where under a
    mixed-precision policy Keras casts what the layer around it reads. Layers
    that it calls are in the mode `training`; if that is None, in the mode
    around it.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32", autocast=False, name="within")
        self.built = True

    def call(
        self, function: Callable[[], Any], training: bool | None = None
    ) -> Any:
        return function()  # Keras hands on `training` to layers in it.


within = _Within()
