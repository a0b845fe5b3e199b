"""Reads data in the forms that Keras takes."""

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import forms
from tfpbnn.base.types import Array

_KINDS = (
    "an array, a tensor, a list or dict of them, a tf.data.Dataset, a "
    "keras.utils.PyDataset or a generator of batches"
)


def is_stream(x: Any) -> bool:
    """Says whether x brings its own batches (and targets).

    Everything does that can be iterated over and is neither an array nor a
    structure of arrays: a dataset, a loader of batches, a generator.
    """
    if isinstance(x, keras.utils.PyDataset):
        return True
    is_other = forms.is_array(x) or isinstance(x, str | bytes)
    return (
        isinstance(x, Iterable) and not is_other and not keras.tree.is_nested(x)
    )


def as_rows(
    name: str, data: Any, inputs: Sequence[str] = (), *, is_finite: bool = True
) -> Any:
    """Converts leaves to forms that can be cut into rows.

    Args:
        name: the name of the argument.
        data: an array of any library, or a structure of arrays of one length;
            None stands for an optional input.
        inputs: the names of the inputs that the arrays are for, in their
            order; "" for one that the user did not name.
        is_finite: whether all numbers must be finite.

    Returns:
        The same structure, with leaves that `forms.standard` returns.

    Raises:
        TypeError: if data have another form, such as nested lists of numbers.
        ValueError: if lengths differ or are 0, or there is a NaN.
    """
    rows = _checked(name, data, forms.standard, inputs)
    if is_finite:
        check_finite(name, rows, inputs=inputs)
    return rows


def as_keras_takes(given: dict[str, Any]) -> None:
    """Converts arrays that Keras could but doesn't read to forms that it does.

    These are strings of NumPy and pandas, pandas columns of several types or of
    its own, and sparse matrices in the order of their columns.

    Args:
        given: the arguments of Keras's `fit`, `evaluate` or `predict`, changed
            in place.

    Raises:
        TypeError: if an array of x holds neither numbers nor strings.
        ValueError: if NumPy masks values of an array.
    """

    def read(name: str, leaf: Any) -> Any:
        if not forms.is_array(leaf):
            return leaf
        if name == "x":
            return forms.standard("`x`", leaf)
        forms.check_unmasked(f"`{name}`", leaf)
        return forms.from_pandas(leaf)

    def rows_of(names: Iterable[str], values: Iterable[Any]) -> list[Any]:
        return [
            keras.tree.map_structure(functools.partial(read, name), value)
            for name, value in zip(names, values, strict=False)
        ]

    names = ("x", "y", "sample_weight")
    found = [name for name in names if name in given]
    given.update(zip(found, rows_of(found, map(given.get, found)), strict=True))
    validation = given.get("validation_data")
    if isinstance(validation, list | tuple):
        given["validation_data"] = tuple(rows_of(names, validation))


def as_arrays(
    name: str, data: Any, inputs: Sequence[str] = (), *, is_finite: bool = True
) -> Any:
    """Converts leaves to NumPy arrays, all of one length.

    Args:
        name: the argument's.
        data: an array, or a structure of arrays.
        inputs: as in `as_rows`.
        is_finite: as in `as_rows`.

    Raises:
        TypeError: if data have another form, such as nested lists of numbers,
            or sparse and ragged tensors.
        ValueError: if lengths differ or are 0, or there is a NaN.
    """

    def dense(label: str, leaf: Any) -> Array:
        is_ragged = isinstance(leaf, tf.RaggedTensor)
        is_sparse = isinstance(leaf, tf.SparseTensor) or hasattr(leaf, "tocsr")
        if leaf is None or is_ragged or is_sparse:
            fix = "leave it out" if leaf is None else "make it dense"
            ways = "tf.sparse.to_dense, x.toarray() or x.to_tensor()"
            raise TypeError(
                f"{label} must be a dense array here. Received: "
                f"{type(leaf).__name__}; {fix} (by {ways})"
            )
        return np.asarray(leaf)

    rows = _checked(name, data, dense, inputs)
    if is_finite:
        check_finite(name, rows, inputs=inputs)
    return rows


def _checked(
    name: str,
    data: Any,
    read: Callable[[str, Any], Any],
    inputs: Sequence[str],
) -> Any:
    """Reads each leaf, and checks that all have one length."""
    paths = [] if callable(data) else keras.tree.flatten_with_path(data)
    if is_stream(data) or all(leaf is None for _, leaf in paths):
        raise TypeError(f"`{name}` must be {_KINDS}. Received: {name}={data!r}")
    if len(paths) > 1 and not any(forms.is_array(leaf) for _, leaf in paths):
        raise TypeError(
            f"`{name}` must be {_KINDS}. Received: nested lists of numbers or "
            "strings, and a list is one of several inputs: pass "
            f"np.asarray({name}) or, of one row, {name}[np.newaxis]"
        )
    labels = labels_of(name, [path for path, _ in paths], inputs)
    leaves = [
        read(label, leaf)
        for label, (_, leaf) in zip(labels, paths, strict=True)
    ]
    _check_lengths(name, labels, leaves)
    return keras.tree.pack_sequence_as(data, leaves)


def labels_of(
    name: str, paths: Sequence[Sequence[Any]], inputs: Sequence[str] = ()
) -> list[str]:
    """Makes the names of arrays in errors, such as `x["tokens"]`."""
    found = [f"{name}{''.join(f'[{key!r}]' for key in path)}" for path in paths]
    if len(found) != len(inputs):
        return [f"`{one}`" for one in found]
    return [
        f"`{one}`"
        if not given or path[-1:] == (given,)
        else f"`{one}` (input `{given}`)"
        for one, path, given in zip(found, paths, inputs, strict=True)
    ]


def _check_lengths(name: str, labels: list[str], leaves: list[Any]) -> None:
    lengths = {
        label: forms.length(leaf)
        for label, leaf in zip(labels, leaves, strict=True)
        if leaf is not None
    }
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        shapes = {
            label.replace("`", ""): tuple(leaf.shape)
            for label, leaf in zip(labels, leaves, strict=True)
            if leaf is not None
        }
        raise ValueError(
            f"`{name}` must have one row or more, and as many in each of its "
            f"arrays. Received: shapes {shapes}"
        )


def check_finite(
    name: str,
    data: Any,
    of: str = "",
    inputs: Sequence[str] | None = None,
) -> None:
    """Raises if an array has NaN or infinite values; other forms pass.

    Args:
        name: the name of the argument.
        data: an array, or a structure of arrays.
        of: the words for what it is part of, for the message.
        inputs: as in `as_rows`, for a message that says which array it is;
            None for one that does not.
    """
    if data is None or is_stream(data):
        return
    paths = keras.tree.flatten_with_path(data)
    labels = [f"`{name}`"] * len(paths)
    if inputs is not None:
        labels = labels_of(name, [path for path, _ in paths], inputs)
    for label, (_, leaf) in zip(labels, paths, strict=True):
        if leaf is not None:
            _check_finite(f"{label}{of}", leaf)


def are_finite(data: Any) -> bool:
    """Whether all numbers in a structure of arrays, and None, are finite."""
    try:
        check_finite("data", data)
    except ValueError:
        return False
    return True


def _check_finite(label: str, leaf: Any) -> None:
    values = forms.numbers(leaf)
    if values is None or values.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        is_sum_finite = bool(np.isfinite(np.sum(values)))
    if is_sum_finite:
        return  # One pass, no copy: a sum keeps every NaN.
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"{label} must be finite. Received: {len(bad)} NaN or infinite "
            f"values, the first at {forms.place(leaf, bad[0])}"
        )


def check_numbers(name: str, values: Array) -> None:
    """Raises if an array of targets holds strings or other objects.

    Raises:
        TypeError: if it does; the message has the first one.
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
    """Converts a leaf to an array; None if that is not possible."""
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError):
        return None
    # One object is what NumPy makes of what it doesn't know.
    return None if array.dtype == object and not array.ndim else array


def first(batch: Any) -> Any:
    """Returns the first array of a structure, in which some may be None."""
    return next(leaf for leaf in keras.tree.flatten(batch) if leaf is not None)


def length(arrays: Any) -> int:
    """Counts the rows of what `as_rows` or `as_arrays` has returned."""
    return forms.length(first(arrays))


def num_rows(batch: Any) -> Any:
    """Counts the rows of a batch's tensors, of which some may be None."""
    first = next(t for t in keras.tree.flatten(batch) if t is not None)
    return tf.shape(first)[0]


def batches(x: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yields (inputs, targets or None) for each batch."""
    for inputs, targets, _ in weighted_batches(x, batch_size):
        if is_stream(x):
            check_finite("x", inputs, inputs=())
        yield inputs, targets


def weighted_batches(x: Any, batch_size: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yields (inputs, targets or None, weights or None) for each batch.

    Inputs of a stream may have NaN, which the caller checks.
    """
    if isinstance(x, keras.utils.PyDataset):
        for index in range(x.num_batches or 0):
            yield _unpacked(x[index])
    elif is_stream(x):
        for element in x:
            yield _unpacked(element)
    else:
        for start in range(0, length(x), batch_size):
            yield rows(x, start, start + batch_size), None, None


def rows(x: Any, start: int, stop: int) -> Any:
    """Takes the rows from `start` to `stop` of what `as_rows` has returned."""
    return keras.tree.map_structure(lambda a: forms.rows(a, start, stop), x)


def num_batches(x: Any, batch_size: int) -> int | None:
    """Counts the batches that `batches` will yield; None if unknown."""
    if isinstance(x, tf.data.Dataset):
        count = int(x.cardinality())
        if count == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "`x` must be finite. Received: a tf.data.Dataset that repeats "
                "for ever; end it with `.take(n)`"
            )
        return count if count >= 0 else None
    if isinstance(x, keras.utils.PyDataset):
        if x.num_batches is None:
            raise ValueError(
                "`x` must be finite. Received: a PyDataset without a number of "
                "batches; give it a `num_batches`"
            )
        return x.num_batches
    if is_stream(x):
        return len(x) if hasattr(x, "__len__") else None
    return math.ceil(length(x) / batch_size)


def _unpacked(element: Any) -> tuple[Any, Any, Any]:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element)
    return as_rows("x", x, is_finite=False), y, sample_weight


def count_examples(x: Any, validation_split: float = 0.0) -> int:
    """Counts the training examples that `fit` takes from arrays.

    Args:
        x: an array, or a structure of them. (Batches of a stream are read to be
            counted: see `tfpbnn.callbacks.training_data`.)
        validation_split: the share of rows that `fit` keeps for validation.

    Raises:
        ValueError: if the number of rows of x is unknown.
    """
    if is_stream(x) or not forms.is_array(one := first(x)):
        raise unknown_length(f"{type(x).__name__} object")
    return math.floor(forms.length(one) * (1 - validation_split))


def digest(arrays: Iterable[Any]) -> str:
    """A hash of the values, shapes and types of arrays."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(repr((array.shape, array.dtype.str)).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


class Uncounted(ValueError):
    """Says that data don't tell a number that training needs.

    Attributes:
        received: what was given.
    """

    def __init__(self, must: str, received: str, fix: str):
        super().__init__(f"{must}. Received: {received}. {fix}")
        self.received = received


def unknown_length(received: str) -> Uncounted:
    """Makes the error for data with an unknown number of examples."""
    return Uncounted(
        "`x` must have a known number of examples for `fit` to weight the KL",
        f"x is {received}",
        "Pass `callbacks=[tfpbnn.callbacks.KLWeight(num_examples=...)]`, with "
        "the number of rows in all",
    )
