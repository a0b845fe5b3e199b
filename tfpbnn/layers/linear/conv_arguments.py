"""Checks the arguments of convolutions."""

from collections.abc import Mapping
from typing import Any

import keras

from tfpbnn.base import checks
from tfpbnn.base.types import Shape

# In the order of Keras's constructors.
WINDOW = ("kernel_size", "strides", "padding", "data_format", "dilation_rate")


def set_window(
    layer: keras.layers.Layer,
    rank: int,
    arguments: Mapping[str, Any],
    *,
    allow_causal: bool = False,
) -> None:
    """Checks the arguments, and makes them attributes of the layer.

    Args:
        layer: a convolution.
        rank: the number of its spatial axes.
        arguments: the `locals()` of its constructor.
        allow_causal: whether "causal" is a padding.

    Raises:
        ValueError: if a number is not positive or a name is unknown.
    """

    def sizes(name: str) -> tuple[int, ...]:
        return checks.integers(name, arguments[name], rank)

    layer.kernel_size = sizes("kernel_size")
    layer.strides = sizes("strides")
    layer.dilation_rate = sizes("dilation_rate")
    layer.padding = padding(arguments["padding"], allow_causal=allow_causal)
    layer.data_format = data_format(arguments["data_format"])


def padding(value: Any, *, allow_causal: bool = False) -> str:
    """Checks that a padding is one of Keras's; returns it in lower case."""
    known = ["valid", "same", *(["causal"] if allow_causal else [])]
    return _keyword("padding", value, known)


def data_format(value: Any) -> str:
    """Checks a data format; None takes the one that Keras is configured for."""
    if value is None:
        return keras.config.image_data_format()
    return _keyword("data_format", value, ["channels_last", "channels_first"])


def _keyword(name: str, value: Any, known: list[str]) -> str:
    lower = value.lower() if isinstance(value, str) else value
    return checks.one_of(name, lower if lower in known else value, known)


def no_stride_with_dilation(
    strides: tuple[int, ...], dilation_rate: tuple[int, ...]
) -> None:
    """Raises if there are both strides and dilation, which TensorFlow lacks."""
    if max(strides) > 1 and max(dilation_rate) > 1:
        raise ValueError(
            "`strides` and `dilation_rate` can't both be above 1. Received: "
            f"strides={strides}, dilation_rate={dilation_rate}"
        )


def channels(input_shape: Shape, rank: int, data_format: str) -> int:
    """Finds the number of channels of inputs with `rank` spatial axes."""
    axis = -1 if data_format == "channels_last" else 1
    count = input_shape[axis] if len(input_shape) == rank + 2 else None
    if count is None:
        raise ValueError(
            f"Inputs must have rank {rank + 2} and a known number of channels "
            f"({data_format}). Received: input_shape={tuple(input_shape)}"
        )
    return count
