"""Defines dropout whose rate is learned."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Shape, Tensor
from tfpbnn.layers.dropout.perturbed import NoiseShape, perturbed
from tfpbnn.layers.kl import ClosedFormKL, add_weight
from tfpbnn.layers.noise import Noise
from tfpbnn.layers.random_layer import RandomLayer

_CONV = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
# Masks are almost 0 or 1, so that the rate has a gradient.
_TEMPERATURE = 0.1


@registry.register("layers")
class ConcreteDropout(RandomLayer, keras.layers.Wrapper):
    """Puts dropout before a layer, at a rate that is learned.

    The rate belongs to an approximate posterior of the layer's kernel. Its KL
    to a Normal prior favours masks of high entropy, against a good fit, so the
    rate falls as there is more data. The KL is added to the loss like that of
    other layers: set its weight by `tfpbnn.callbacks.KLWeight`, or use
    `tfpbnn.Sequential`. A `kernel_regularizer` of the layer is added too.

    Before a convolution whole feature maps are dropped. Masks are drawn as by
    `MCDropout`: for each row in training, once for each draw in prediction.

    Args:
        layer: a `Dense`, `Conv1D`, `Conv2D` or `Conv3D`.
        initial_rate: the initial rate, between 0 and 1.
        length_scale: the inverse of the standard deviation of the kernel's
            prior.
        kl_weight: the factor of the KL in the loss, normally 1 /
            (number of training examples). None leaves it to
            `tfpbnn.callbacks.KLWeight` or `tfpbnn.Sequential`.
        seed: the seed of the noise. None takes one from Python's `random`.

    Call arguments:
        inputs: the inputs of the layer.

    Input shape:
        That of the layer.

    Output shape:
        That of the layer.

    Raises:
        ValueError: if the layer is of another kind, a rate is not between 0
            and 1, or the length scale is not positive.

    Example:
    ```python
    model = tfpbnn.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        tfpbnn.layers.ConcreteDropout(keras.layers.Dense(2)),
    ])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, verbose=0)
    float(model.layers[-1].rate)
    ```

    Reference:
        [Gal, Hron and Kendall, 2017](https://arxiv.org/abs/1705.07832)
    """

    noise: Noise

    def __init__(
        self,
        layer: keras.layers.Layer,
        *,
        initial_rate: float = 0.1,
        length_scale: float = 1.0,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        if not isinstance(layer, (keras.layers.Dense, *_CONV)):
            raise ValueError(
                "`layer` must be a Dense, Conv1D, Conv2D or Conv3D of Keras. "
                f"Received: layer={layer!r}"
            )
        super().__init__(layer, **kwargs)
        self.initial_rate = checks.open_fraction("initial_rate", initial_rate)
        self.length_scale = checks.positive_number("length_scale", length_scale)
        self.noise = Noise(self, seed)
        self.initial_kl_weight = kl_weight
        self.kl_weight = add_weight(self, kl_weight)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any = None) -> None:
        self.noise.build(self)
        start = math.log(self.initial_rate) - math.log1p(-self.initial_rate)
        self.raw_rate = self.add_weight(
            name="raw_rate",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(start),
            autocast=False,
        )
        super().build(input_shape)
        self._num_masks = input_shape[self._feature_axis(len(input_shape))]
        ClosedFormKL(self.raw_rate, self.kl_weight, self._kl)

    @property
    def rate(self) -> Tensor:
        """The current probability to drop a unit."""
        return tf.sigmoid(tf.convert_to_tensor(self.raw_rate))

    def _feature_axis(self, rank: int) -> int:
        last = getattr(self.layer, "data_format", None) != "channels_first"
        return rank - 1 if last else 1

    def _sizes_of_noise(self, rank: int) -> NoiseShape:
        if not isinstance(self.layer, _CONV):
            return None
        axis = self._feature_axis(rank)
        return [None if i in (0, axis) else 1 for i in range(rank)]

    def _kl(self) -> Tensor:
        raw, rate = tf.convert_to_tensor(self.raw_rate), self.rate
        kernel = tf.cast(tf.convert_to_tensor(self.layer.kernel), tf.float32)
        # -log(1 - rate) and -log(rate), without cancellation.
        kept, dropped = tf.math.softplus(raw), tf.math.softplus(-raw)
        squares = tf.reduce_sum(tf.square(self.length_scale * kernel))
        entropy = (1 - rate) * kept + rate * dropped
        # 1 / (1 - rate) is exp of the former.
        return 0.5 * squares * tf.exp(kept) - self._num_masks * entropy

    def _noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        raw = tf.convert_to_tensor(self.raw_rate)
        kept = tf.sigmoid(-(raw + numbers.logistic()) / _TEMPERATURE)
        factor = kept * tf.exp(tf.math.softplus(raw))
        return inputs * tf.cast(factor, inputs.dtype)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        key = self._draw_key()
        if key is not None:
            shape = self._sizes_of_noise(len(inputs.shape))
            inputs = perturbed(inputs, key, self._noisy, shape)
        return self.layer(inputs, training=training)

    def drawing(self, input_shape: Any = None) -> random.Drawing:
        return random.Drawing(can_stack=True, can_be_marginal=True)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> Config:
        return super().get_config() | {
            "initial_rate": self.initial_rate,
            "length_scale": self.length_scale,
            "kl_weight": self.initial_kl_weight,
            "seed": self.seed,
        }
