"""Reads the forms of data that Keras takes."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array

_KINDS = (
    "an array, a tensor, a list or dict of them, a tf.data.Dataset or a "
    "keras.utils.PyDataset"
)


def is_stream(x: Any) -> bool:
    """Whether x brings its own batches (and targets)."""
    return isinstance(x, tf.data.Dataset | keras.utils.PyDataset)


def as_arrays(name: str, data: Any) -> Any:
    """The same structure with NumPy arrays as leaves, all of one length.

    Raises:
        TypeError: for data of another form, such as nested lists of numbers.
        ValueError: if lengths differ or are 0, or there is a NaN.
    """
    if data is None or isinstance(data, Iterator) or callable(data):
        raise TypeError(f"`{name}` must be {_KINDS}. Received: {name}={data!r}")
    arrays = keras.tree.map_structure(np.asarray, data)
    leaves = keras.tree.flatten(arrays)
    if len(leaves) > 1 and not any(leaf.ndim for leaf in leaves):
        raise TypeError(
            f"`{name}` must be {_KINDS}. Received: nested lists of numbers, "
            "and a list is one of several inputs: pass "
            f"np.asarray({name}) or, of one row, {name}[np.newaxis]"
        )
    lengths = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"`{name}` must have one row or more, and as many in each of its "
            f"arrays. Received: shapes {[leaf.shape for leaf in leaves]}"
        )
    check_finite(name, arrays)
    return arrays


def check_finite(name: str, data: Any, of: str = "") -> None:
    """Raises if an array has NaN or infinite values; other forms pass.

    Args:
        name: the argument's.
        data: an array, or a structure of them.
        of: what it is part of, for the message.
    """
    if data is None or is_stream(data) or isinstance(data, Iterator):
        return
    for leaf in keras.tree.flatten(data):
        values = leaf if isinstance(leaf, np.ndarray) else to_numpy(leaf)
        if values is None or values.dtype.kind != "f":
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            is_sum_finite = bool(np.isfinite(np.sum(values)))
        if is_sum_finite:
            continue  # One pass, no copy: a sum keeps every NaN.
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"`{name}`{of} must be finite. Received: {len(bad)} NaN or "
                f"infinite values, the first at index {tuple(map(int, bad[0]))}"
            )


def check_numbers(name: str, values: Array) -> None:
    """Raises if an array of targets holds names, or objects.

    Raises:
        TypeError: with the first of them.
    """
    if values.dtype.kind in "OSTU" and values.size:
        first = values.ravel().tolist()[0]
        raise TypeError(
            f"{name} must hold numbers. Received: {first!r} and "
            f"others, of dtype {values.dtype}. Names of classes become labels "
            "by `np.unique(y, return_inverse=True)[1]`, and objects numbers by "
            "`np.asarray(y, float)`"
        )


def to_numpy(leaf: Any) -> Array | None:
    """A leaf as an array; None if it can't be one."""
    try:
        return np.asarray(leaf)
    except (TypeError, ValueError):
        return None


def length(arrays: Any) -> int:
    """The number of rows of what `as_arrays` gave."""
    return len(keras.tree.flatten(arrays)[0])


def num_rows(batch: Any) -> Any:
    """The number of rows of a batch's tensors, of which some may be None."""
    first = next(t for t in keras.tree.flatten(batch) if t is not None)
    return tf.shape(first)[0]


def batches(x: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """(inputs, targets or None) of each batch, inputs as tensors."""
    if isinstance(x, tf.data.Dataset):
        for element in x:
            yield _inputs_and_targets(element)
    elif isinstance(x, keras.utils.PyDataset):
        for index in range(x.num_batches or 0):
            yield _inputs_and_targets(x[index])
    else:
        for start in range(0, length(x), batch_size):
            rows = slice(start, start + batch_size)
            yield keras.tree.map_structure(lambda a: a[rows], x), None  # noqa: B023


def num_batches(x: Any, batch_size: int) -> int | None:
    """How many batches `batches` will give; None if unknown."""
    if isinstance(x, tf.data.Dataset):
        count = int(x.cardinality())
        if count == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "`x` must be finite. Received: a tf.data.Dataset that repeats "
                "for ever; end it with `.take(n)`"
            )
        return count if count >= 0 else None
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    return math.ceil(length(x) / batch_size)


def _inputs_and_targets(element: Any) -> tuple[Any, Any]:
    x, y, _ = keras.utils.unpack_x_y_sample_weight(element)
    check_finite("x", x)
    return x, y


def count_examples(x: Any, validation_split: float = 0.0) -> int:
    """How many training examples `fit` will see in an epoch.

    Of a tf.data.Dataset, its number of batches times the size of its first:
    too many by less than one batch if the last one is smaller.

    Raises:
        ValueError: if the number cannot be known.
    """
    if isinstance(x, tf.data.Dataset):
        count = int(x.cardinality())
        if count < 0:
            raise ValueError(_unknown("a tf.data.Dataset of unknown length"))
        first = next(iter(x.take(1)), None)
        return 0 if first is None else count * _rows(first)
    if isinstance(x, keras.utils.PyDataset):
        if not x.num_batches:
            raise ValueError(_unknown("a PyDataset of unknown length"))
        count = x.num_batches
        return (count - 1) * _rows(x[0]) + _rows(x[count - 1])
    try:
        total = len(keras.tree.flatten(x)[0])
    except TypeError as error:
        raise ValueError(_unknown(f"{type(x).__name__} object")) from error
    return math.floor(total * (1 - validation_split))


def _rows(element: Any) -> int:
    x, _, _ = keras.utils.unpack_x_y_sample_weight(element)
    return int(keras.tree.flatten(x)[0].shape[0])


def _unknown(received: str) -> str:
    return (
        "`x` must have a known number of examples for `fit` to weight the KL. "
        f"Received: x is {received}. Pass `callbacks=[tfpbnn.callbacks."
        "KLWeight(num_examples=...)]`, or tell the dataset its number of "
        "batches with tf.data.experimental.assert_cardinality"
    )
