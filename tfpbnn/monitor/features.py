"""Reads the inputs of a model as columns of numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpbnn.base.types import Array


def columns(x: Any) -> dict[str, Array]:
    """Reads inputs as columns of numbers, by name.

    Tables have a column for each feature. Of inputs with more axes, such as
    images or sequences, a row has its mean and its standard deviation. What
    does not hold numbers is left out.

    Args:
        x: an array `[N, ...]`, a DataFrame, or a dict of arrays.

    Returns:
        Arrays `[N]` in float64, by name.
    """
    if hasattr(x, "columns"):
        return {
            name: values
            for each in x.columns
            for name, values in _of_array(str(each), np.asarray(x[each]))
        }
    if isinstance(x, list | tuple) and any(np.ndim(part) > 0 for part in x):
        is_several = len({np.shape(part) for part in x}) > 1
        if is_several or np.ndim(x[0]) > 1:
            x = {f"input_{i}": part for i, part in enumerate(x)}
    if isinstance(x, Mapping):
        return {
            column: values
            for name, part in x.items()
            for column, values in _of_array(str(name), np.asarray(part))
        }
    return dict(_of_array("x", np.asarray(x)))


def _of_array(name: str, values: Array) -> list[tuple[str, Array]]:
    if values.ndim == 0 or values.dtype.kind not in "biuf":
        return []
    values = values.astype(np.float64)
    if values.ndim == 1:
        return [(name, values)]
    if values.ndim == 2:
        if values.shape[1] == 1:
            return [(name, values[:, 0])]
        return [(f"{name}{i}", column) for i, column in enumerate(values.T)]
    flat = values.reshape(len(values), -1)
    return [
        (f"{name}_mean", flat.mean(axis=1)),
        (f"{name}_stddev", flat.std(axis=1)),
    ]
