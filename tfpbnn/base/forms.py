"""Converts one array of data to a form that can be cut into rows.

Whatever a user brings becomes one of these: a NumPy array of numbers, a tensor
(of strings, for example), a `tf.SparseTensor`, a `tf.RaggedTensor`, or None for
an optional input that is not given. SciPy and pandas are known by their
methods, since this package does not need them.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array


def is_array(leaf: Any) -> bool:
    """Says whether a leaf is an array of some library, not a number or list."""
    is_like = hasattr(leaf, "shape") or hasattr(leaf, "__array__")
    return is_like and not isinstance(leaf, np.generic)


def standard(label: str, leaf: Any) -> Any:
    """Converts data to a form that has rows, as Keras reads it.

    Floats have Keras's default type, a pandas Series is a column `[N, 1]`, and
    the elements of sparse data are in the order of their rows, without
    duplicates.

    Args:
        label: the name of the array, for errors.
        leaf: an array of any library, or None.

    Raises:
        TypeError: if the array holds neither numbers nor strings, or both.
        ValueError: if NumPy masks values of the array.
    """
    if leaf is None:
        return None
    check_unmasked(label, leaf)
    if hasattr(leaf, "tocsr"):
        return _with_floats(_of_scipy(leaf))
    if isinstance(leaf, tf.SparseTensor):
        return _with_floats(_in_order(leaf))
    if isinstance(leaf, tf.Tensor | tf.RaggedTensor):
        return _with_floats(leaf)
    if hasattr(leaf, "detach"):  # of PyTorch
        leaf = leaf.detach().cpu()
    values = np.asarray(from_pandas(leaf))
    if values.dtype.kind in "OSTU":
        return _strings(label, values)
    try:
        dtype = tf.as_dtype(values.dtype)
    except TypeError as error:
        raise TypeError(
            f"{label} must hold numbers or strings. Received: dtype "
            f"{values.dtype}. Dates become numbers by `(x - x.min()) / "
            "np.timedelta64(1, 'D')`"
        ) from error
    floatx = keras.config.floatx()
    return values.astype(floatx, copy=False) if dtype.is_floating else values


def check_unmasked(label: str, leaf: Any) -> None:
    """Raises if an array has places that NumPy masks: they would be lost.

    Raises:
        ValueError: if there is one.
    """
    if np.ma.is_masked(leaf):
        raise ValueError(
            f"{label} must be an array without masked values. Received: a "
            f"NumPy array with {np.ma.count_masked(leaf)} of them. Pass "
            "`y.filled(0)` with `sample_weight=1.0 - np.ma.getmaskarray(y)` "
            "for targets, `w.filled(0)` for weights, and filled numbers for "
            "inputs"
        )


def length(leaf: Any) -> int:
    """Counts the rows; 0 for a leaf without rows."""
    shape = leaf.shape
    return int(shape[0]) if len(shape) else 0


def rows(leaf: Any, start: int, stop: int) -> Any:
    """Takes the rows from `start` to `stop` of what `standard` has returned."""
    if leaf is None or not isinstance(leaf, tf.SparseTensor):
        return None if leaf is None else leaf[start:stop]
    stop = min(stop, length(leaf))
    # Without a copy: they are in order, so those of the rows are together.
    indices: Array = np.asarray(leaf.indices)
    first, last = (
        int(np.searchsorted(indices[:, 0], row)) for row in (start, stop)
    )
    shift: Array = np.eye(1, indices.shape[1], dtype=indices.dtype) * start
    return tf.SparseTensor(
        indices[first:last] - shift,
        leaf.values[first:last],
        [stop - start, *leaf.shape[1:]],
    )


def numbers(leaf: Any) -> Array | None:
    """Returns all numbers that are stored; None if there are none."""
    if isinstance(leaf, tf.SparseTensor):
        return np.asarray(leaf.values)
    if isinstance(leaf, tf.RaggedTensor):
        return np.asarray(leaf.flat_values)
    try:
        return np.asarray(leaf.data if hasattr(leaf, "tocsr") else leaf)
    except (TypeError, ValueError):
        return None


def place(leaf: Any, index: Array) -> str:
    """Describes in words where one of `numbers` is."""
    if isinstance(leaf, tf.SparseTensor):
        index = np.asarray(leaf.indices)[index[0]]
    of = "values" if isinstance(leaf, tf.RaggedTensor) else "index"
    return f"{of} {tuple(map(int, index))}"


def spec(leaf: Any, shape: Any) -> Any:
    """Makes the `tf.TypeSpec` of what `standard` returns, of another shape."""
    if leaf is None:
        return None
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensorSpec(shape, leaf.dtype)
    if isinstance(leaf, tf.RaggedTensor):
        return tf.RaggedTensorSpec(
            shape, leaf.dtype, leaf.ragged_rank, leaf.row_splits.dtype
        )
    return tf.TensorSpec(shape, leaf.dtype)


def present(x: Any) -> Any:
    """Leaves out None, which functions of graphs don't take."""
    leaves = keras.tree.flatten(x)
    some = [leaf for leaf in leaves if leaf is not None]
    return x if len(some) == len(leaves) else some


def restored(some: Any, like: Any) -> Any:
    """Puts what `present` has returned into the structure of `like`."""
    leaves = iter(keras.tree.flatten(some))
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else next(leaves), like
    )


def sizes(leaf: Any) -> tuple[int, ...]:
    """Returns the sizes behind the rows; the largest ones of ragged rows."""
    if leaf is None:
        return ()
    if isinstance(leaf, tf.RaggedTensor):
        return tuple(map(int, leaf.bounding_shape()[1:]))
    return tuple(leaf.shape[1:])


def _of_scipy(matrix: Any) -> tf.SparseTensor:
    csr = matrix.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy()  # the user's stays as it is
        csr.sum_duplicates()
    row: Array = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    indices = np.stack([row, csr.indices], axis=1).astype("int64")
    return tf.SparseTensor(indices, csr.data, csr.shape)


def _in_order(leaf: tf.SparseTensor) -> tf.SparseTensor:
    indices: Array = np.asarray(leaf.indices)
    is_ordered = np.all(np.diff(indices[:, 0]) >= 0)
    return leaf if is_ordered else tf.sparse.reorder(leaf)


def from_pandas(frame: Any) -> Any:
    """Takes the values of a DataFrame or Series; a Series is one column.

    Anything else stays as it is.
    """
    if not hasattr(frame, "iloc"):
        return frame
    dtypes = getattr(frame, "dtypes", None)
    kinds = {dtype.kind for dtype in np.ravel(np.array(dtypes, object))}
    values = frame.to_numpy()
    if values.dtype == object and kinds <= set("biuf"):
        # Columns of several types, or of pandas's own with missing values.
        is_float = "f" in kinds or bool(np.any(frame.isna().to_numpy()))
        dtype = keras.config.floatx() if is_float else "int64"
        missing = {"na_value": np.nan} if is_float else {}
        values = frame.to_numpy(dtype=dtype, **missing)
    return values[:, np.newaxis] if values.ndim == 1 else values


def _strings(label: str, values: Array) -> Any:
    try:
        return tf.constant(values.astype(object), tf.string)
    except (TypeError, ValueError) as error:
        odd = next(
            v for v in values.ravel().tolist() if not isinstance(v, str | bytes)
        )
        raise TypeError(
            f"{label} must hold numbers or strings, not both or other objects. "
            f"Received: {odd!r} in an array of dtype {values.dtype}. Give "
            "columns of different types as several inputs, such as "
            "`dict(frame)` of a DataFrame; objects become numbers by "
            "`np.asarray(x, float)`, and lists of different lengths rows by "
            "`tf.ragged.constant`"
        ) from error


def _with_floats(tensor: Any) -> Any:
    floatx = keras.config.floatx()
    is_other = tensor.dtype.is_floating and tensor.dtype != floatx
    return tf.cast(tensor, floatx) if is_other else tensor
