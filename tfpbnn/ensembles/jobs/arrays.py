"""Arrays in files, so that jobs share them and need not be sent them."""

import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array


def save_arrays(arrays: Any, folder: pathlib.Path, name: str) -> Any:
    """Writes arrays; their structure with paths in their places.

    Args:
        arrays: a structure of arrays and None.
        folder: where to.
        name: how the files' names begin.

    Raises:
        TypeError: if something is no dense array; says where it is.
    """
    paths: list[Any] = []
    for place, leaf in keras.tree.flatten_with_path(arrays):
        path = folder / f"{name}_{len(paths)}.npy"
        paths.append(None if leaf is None else str(path))
        if leaf is not None:
            np.save(path, _dense("/".join(map(str, place)), leaf))
    return keras.tree.pack_sequence_as(arrays, paths)


def load_arrays(paths: Any) -> Any:
    """The arrays of `save_arrays`, read as they are needed."""

    def load(path: str | None) -> Any:
        if path is None:
            return None
        array = np.load(path, mmap_mode="r")
        # Keras takes strings as objects alone.
        return array.astype(object) if array.dtype.kind in "SU" else array

    return keras.tree.map_structure(load, paths)


def _dense(place: str, leaf: Any) -> Array:
    is_open = isinstance(leaf, tf.SparseTensor | tf.RaggedTensor)
    array = np.array(None) if is_open else np.asarray(leaf)
    if array.dtype != object:
        return array
    items = array.ravel().tolist()
    if not items or not all(isinstance(item, str | bytes) for item in items):
        raise TypeError(
            f"`{place}` must be a dense array of numbers or strings, for jobs "
            f"to be given it in a file. Received: {type(leaf).__name__}"
        )
    return np.array(array.tolist())  # of strings of one size, which files have
