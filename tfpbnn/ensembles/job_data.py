"""Arrays in files, so that jobs share them and need not be sent them."""

import pathlib
from typing import Any

import keras
import numpy as np


def save_arrays(arrays: Any, folder: pathlib.Path, number: int) -> Any:
    """Writes arrays; a structure of their paths, and of what is no array.

    Args:
        arrays: a structure; what members have in common is written once.
        folder: where to.
        number: of the member.
    """
    count = 0

    def save(leaf: Any) -> Any:
        nonlocal count
        if leaf is None:
            return None
        array = np.asarray(leaf)
        path = folder / f"member_{number}.data_{count}.npy"
        count += 1
        np.save(path, array)
        return str(path)

    return keras.tree.map_structure(save, arrays)


def load_arrays(paths: Any) -> Any:
    """The arrays of `save_arrays`."""
    return keras.tree.map_structure(
        lambda path: None if path is None else np.load(path), paths
    )
