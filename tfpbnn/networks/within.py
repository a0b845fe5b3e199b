"""What Keras sets up around the call of a layer, for any function."""

from collections.abc import Callable
from typing import Any

import keras


class _Within(keras.layers.Layer):
    """Calls a function as if it were a layer's code.

    It sees variables as they are stored: under a mixed-precision policy Keras
    casts what the layer around it reads. Layers that it calls train or not
    as `training` says; if nothing is said, as around it.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32", autocast=False, name="within")
        self.built = True

    def call(
        self, function: Callable[[], Any], training: bool | None = None
    ) -> Any:
        return function()  # Keras hands on `training` to layers in it.


within = _Within()
