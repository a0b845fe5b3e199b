"""Dropout of whole feature maps, random in inference too."""

from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.base.types import Config
from tfpbnn.layers.dropout.mc_noise import BaseMCDropout
from tfpbnn.layers.dropout.perturbed import NoiseShape
from tfpbnn.layers.linear import conv_arguments


class _MCSpatialDropout(BaseMCDropout):
    """Drops whole feature maps."""

    _rank: int

    def __init__(
        self, rate: float, data_format: Any, seed: int | None, **kwargs: Any
    ):
        super().__init__(rate, None, seed, **kwargs)
        self.data_format = conv_arguments.data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=self._rank + 2)

    def sizes_of_noise(self, rank: int) -> NoiseShape:
        del rank
        ones = (1,) * self._rank
        is_last = self.data_format == "channels_last"
        return (None, *ones, None) if is_last else (None, None, *ones)

    def get_config(self) -> Config:
        config = super().get_config() | {"data_format": self.data_format}
        del config["noise_shape"]
        return config


@registry.register("layers")
class MCSpatialDropout1D(_MCSpatialDropout):
    """`keras.layers.SpatialDropout1D` that drops in inference too.

    Args:
        rate: as in `MCDropout`, of whole feature maps.
        seed: as in `MCDropout`.
        **kwargs: `name`, `dtype` of any Keras layer.

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Raises:
        ValueError: if `rate` is not from 0 to below 1.

    Example:
    ```python
    tfpbnn.layers.MCSpatialDropout1D(0.1)(keras.random.normal((2, 5, 3)))
    ```

    Reference:
        [Tompson et al., 2015](https://arxiv.org/abs/1411.4280)
    """

    _rank = 1

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, "channels_last", seed, **kwargs)

    def get_config(self) -> Config:
        config = super().get_config()
        del config["data_format"]
        return config


@registry.register("layers")
class MCSpatialDropout2D(_MCSpatialDropout):
    """`keras.layers.SpatialDropout2D` that drops in inference too.

    Args:
        rate: as in `MCDropout`, of whole feature maps.
        data_format: "channels_last" or "channels_first"; None takes the one
            that Keras is configured for.
        seed: as in `MCDropout`.
        **kwargs: `name`, `dtype` of any Keras layer.

    Call arguments:
        inputs: `(batch, rows, columns, channels)`, or with channels first.

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

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(rate, data_format, seed, **kwargs)


@registry.register("layers")
class MCSpatialDropout3D(_MCSpatialDropout):
    """`keras.layers.SpatialDropout3D` that drops in inference too.

    Args:
        rate: as in `MCDropout`, of whole feature maps.
        data_format: as in `MCSpatialDropout2D`.
        seed: as in `MCDropout`.
        **kwargs: `name`, `dtype` of any Keras layer.

    Call arguments:
        inputs: `(batch, depth, rows, columns, channels)`, or with channels
            first.

    Raises:
        ValueError: as `MCSpatialDropout2D`.

    Example:
    ```python
    tfpbnn.layers.MCSpatialDropout3D(0.1)(keras.random.normal((2, 3, 3, 3, 2)))
    ```

    Reference:
        [Tompson et al., 2015](https://arxiv.org/abs/1411.4280)
    """

    _rank = 3

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(rate, data_format, seed, **kwargs)
