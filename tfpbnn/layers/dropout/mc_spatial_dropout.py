"""Defines dropout of whole feature maps, random in inference too."""

from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.base.types import Config
from tfpbnn.layers.dropout.mc_noise import MCRate
from tfpbnn.layers.dropout.perturbed import NoiseShape
from tfpbnn.layers.linear import conv_arguments


class BaseMCSpatialDropout(MCRate):
    """A base of layers that drop whole feature maps."""

    _rank: int

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(rate, seed, **kwargs)
        self.data_format = conv_arguments.data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=self._rank + 2)

    def sizes_of_noise(self, rank: int) -> NoiseShape:
        ones = (1,) * self._rank
        is_last = self.data_format == "channels_last"
        return (None, *ones, None) if is_last else (None, None, *ones)

    def get_config(self) -> Config:
        return super().get_config() | {"data_format": self.data_format}


@registry.register("layers")
class MCSpatialDropout1D(BaseMCSpatialDropout):
    """`SpatialDropout1D` in inference too; see `MCSpatialDropout2D`."""

    _rank = 1

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        # As in Keras, it has no data format.
        super().__init__(rate, "channels_last", seed, **kwargs)

    def get_config(self) -> Config:
        config = super().get_config()
        return {k: v for k, v in config.items() if k != "data_format"}


@registry.register("layers")
class MCSpatialDropout2D(BaseMCSpatialDropout):
    """A `keras.layers.SpatialDropout2D` that drops in inference too.

    Args:
        rate: the fraction of feature maps to drop, from 0 to below 1.
        data_format: "channels_last" or "channels_first"; None takes the one
            that Keras is configured for.
        seed: the seed of the noise, as in `MCDropout`.

    Call arguments:
        inputs: a tensor `(batch, rows, columns, channels)`, or with channels
            first.

    Raises:
        ValueError: if `rate` is not from 0 to below 1, or the format is
            unknown.

    Example:
    ```python
    tfpbnn.layers.MCSpatialDropout2D(0.1)(keras.random.normal((2, 5, 5, 3)))
    ```

    Reference:
        [Tompson et al., 2015](https://arxiv.org/abs/1411.4280)
    """

    _rank = 2


@registry.register("layers")
class MCSpatialDropout3D(BaseMCSpatialDropout):
    """`SpatialDropout3D` in inference too; see `MCSpatialDropout2D`."""

    _rank = 3
