"""Arrays in files, so that jobs share them and need not be sent them."""

import pathlib
from typing import Any

import keras
import numpy as np


def save_arrays(arrays: Any, folder: pathlib.Path, name: str) -> Any:
    """Writes arrays; their structure with paths in their places.

    Args:
        arrays: a structure of arrays and None.
        folder: where to.
        name: how the files' names begin.
    """
    paths: list[pathlib.Path] = []

    def save(leaf: Any) -> Any:
        if leaf is None:
            return None
        paths.append(folder / f"{name}_{len(paths)}.npy")
        np.save(paths[-1], np.asarray(leaf))
        return str(paths[-1])

    return keras.tree.map_structure(save, arrays)


def load_arrays(paths: Any) -> Any:
    """The arrays of `save_arrays`, read as they are needed."""
    return keras.tree.map_structure(
        lambda path: None if path is None else np.load(path, mmap_mode="r"),
        paths,
    )
