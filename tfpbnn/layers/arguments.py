"""Checks of the arguments that layers share with Keras's."""

from typing import Any

import keras


def positive(name: str, value: Any) -> int:
    """A positive integer.

    Raises:
        ValueError: names the argument and says what was received.
    """
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or value <= 0:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return value


def integers(
    name: str, value: Any, rank: int, *, least: int = 1
) -> tuple[int, ...]:
    """`rank` integers, from one integer or a sequence of them."""
    try:
        values = (value,) * rank if isinstance(value, int) else tuple(value)
        fits = len(values) == rank and all(
            isinstance(v, int) and not isinstance(v, bool) and v >= least
            for v in values
        )
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must be an integer of {least} or more, or {rank} of "
            f"them. Received: {name}={value!r}"
        )
    return values


def padding(value: Any, *, allow_causal: bool = False) -> str:
    """One of Keras's paddings, in lower case."""
    known = ["valid", "same", *(["causal"] if allow_causal else [])]
    name = value.lower() if isinstance(value, str) else value
    if name not in known:
        raise ValueError(
            f"`padding` must be one of {known}. Received: padding={value!r}"
        )
    return name


def data_format(value: Any) -> str:
    """One of Keras's data formats; None takes the configured one."""
    if value is None:
        return keras.config.image_data_format()
    known = ("channels_last", "channels_first")
    name = value.lower() if isinstance(value, str) else value
    if name not in known:
        raise ValueError(
            f"`data_format` must be one of {list(known)}. Received: "
            f"data_format={value!r}"
        )
    return name


def no_stride_with_dilation(
    strides: tuple[int, ...], dilation_rate: tuple[int, ...]
) -> None:
    """TensorFlow's convolutions don't take both."""
    if max(strides) > 1 and max(dilation_rate) > 1:
        raise ValueError(
            "`strides` and `dilation_rate` can't both be above 1. Received: "
            f"strides={strides}, dilation_rate={dilation_rate}"
        )


def channels(input_shape: Any, rank: int, data_format: str) -> int:
    """The number of channels of inputs with `rank` spatial axes."""
    axis = -1 if data_format == "channels_last" else 1
    if len(input_shape) != rank + 2 or input_shape[axis] is None:
        raise ValueError(
            f"Inputs must have rank {rank + 2} and a known number of channels "
            f"({data_format}). Received: input_shape={tuple(input_shape)}"
        )
    return input_shape[axis]
