"""Layers that give a likelihood the noise that it needs."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, positive, registry
from tfpbnn.base.types import Config, Tensor


@registry.register("layers")
class HomoscedasticScale(keras.layers.Layer):
    """Appends a learned raw scale, the same for all inputs, to each output.

    As the last layer before `tfpbnn.likelihoods.Normal()`, `Laplace()` or
    `StudentT()`: noise of one unknown size, learned with the weights. (It is a
    layer and not part of the loss because Keras trains and saves the variables
    of layers only.)

    Args:
        initial_scale: where the scale starts, a positive number in the units of
            the target, or of the standardized target if the likelihood was
            adapted.

    Call arguments:
        inputs: the locations.

    Input shape:
        `(..., k)`.

    Output shape:
        `(..., 2 k)`: the inputs, then k raw scales.

    Raises:
        ValueError: if `initial_scale` is not positive and finite.

    Example:
    ```python
    model = keras.Sequential([
        tfpbnn.layers.DenseFlipout(50, activation="relu"),
        tfpbnn.layers.DenseFlipout(1),
        tfpbnn.layers.HomoscedasticScale(),
    ])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    ```
    """

    def __init__(self, initial_scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial_scale = checks.positive_number(
            "initial_scale", initial_scale
        )
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        scale = tf.constant(self.initial_scale, tf.float64)
        self.raw_scale = self.add_weight(
            name="raw_scale",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(
                positive.untransformed(scale)
            ),
        )

    def call(self, inputs: Tensor) -> Tensor:
        raw = tf.cast(tf.convert_to_tensor(self.raw_scale), inputs.dtype)
        raw = tf.broadcast_to(raw, tf.shape(inputs))
        return tf.concat([inputs, raw], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * input_shape[-1])

    def get_config(self) -> Config:
        return super().get_config() | {"initial_scale": self.initial_scale}
