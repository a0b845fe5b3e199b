"""Checks of arguments: each raises an error that names the argument."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn.base.types import Shape


def check_rate(value: Any, name: str = "rate") -> float:
    """A probability to drop something."""
    if not (isinstance(value, int | float) and 0 <= value < 1):
        raise ValueError(
            f"`{name}` must be a number from 0 to below 1. Received: "
            f"{name}={value!r}"
        )
    return float(value)


def check_open_rate(value: Any, name: str) -> float:
    """A probability that is neither 0 nor 1."""
    if not (isinstance(value, int | float) and 0 < value < 1):
        raise ValueError(
            f"`{name}` must be a number between 0 and 1, exclusive. Received: "
            f"{name}={value!r}"
        )
    return float(value)


def check_positive(name: str, value: float) -> float:
    """Raises unless `value` is a positive, finite number."""
    if not (isinstance(value, int | float) and 0 < value < math.inf):
        raise ValueError(
            f"`{name}` must be a positive, finite number. Received: "
            f"{name}={value!r}"
        )
    return float(value)


def check_integer(name: str, value: Any, least: int = 1) -> int:
    """An integer of at least so much."""
    if not (isinstance(value, int) and value >= least):
        kind = "a positive integer" if least == 1 else f"{least} or more"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")
    return value


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


def agree(a: Sequence[int | None], b: Sequence[int | None]) -> bool:
    """Whether two shapes are equal as far as they are known."""
    return len(a) == len(b) and all(
        x is None or y is None or x == y for x, y in zip(a, b, strict=True)
    )


def broadcasts(shape: Shape, to: Shape) -> bool:
    """Whether `shape` has size 1 wherever it differs."""
    return agree([n if n != 1 else None for n in shape], to)


def check_free_bits(value: float) -> float:
    """A number of bits, 0 or more."""
    if not (isinstance(value, int | float) and 0 <= value < math.inf):
        raise ValueError(
            "`free_bits` must be a finite number >= 0. Received: "
            f"free_bits={value!r}"
        )
    return float(value)


def check_seed(seed: int | None) -> int | None:
    """The seed, if it is None or an integer; else raises."""
    if seed is not None and not isinstance(seed, int):
        raise TypeError(
            f"`seed` must be None or an integer. Received: seed={seed!r}"
        )
    return seed


def check_size(name: str, value: int | None) -> None:
    """Raises unless `value` is None or a positive integer."""
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(
            f"`{name}` must be None or a positive integer. Received: "
            f"{name}={value!r}"
        )


def check_num_samples(num_samples: Any) -> None:
    """Raises unless `num_samples` is a positive integer."""
    if not isinstance(num_samples, int | np.integer) or num_samples < 1:
        raise ValueError(
            "`num_samples` must be a positive integer. Received: "
            f"num_samples={num_samples!r}"
        )
