"""Keeps what an active learner knows in a file that is whole at any time."""

import json
import os
import pathlib
from typing import Any, NamedTuple

import keras
import numpy as np

from tfpbnn.base.types import Array, Config

_VERSION = 1


class State(NamedTuple):
    """What an active learner knows.

    Attributes:
        asked: the numbers of rows of the pool that have labels, `[M]`.
        x: the inputs of all rows with labels; the first ones were given.
        y: their labels.
        pending: rows that were chosen, and have no labels yet; or None.
        pending_x: their inputs.
        log: what is known of each round, as plain data.
    """

    asked: Array
    x: Any
    y: Any
    pending: Array | None
    pending_x: Any
    log: list[Config]


def write(path: pathlib.Path, state: State, settings: Config) -> None:
    """Writes a state: under another name, and then renamed."""
    arrays: dict[str, Any] = {"asked": state.asked}
    trees = {"x": state.x, "y": state.y}
    if state.pending is not None:
        arrays["pending"] = state.pending
        trees["pending_x"] = state.pending_x
    for name, tree in trees.items():
        for number, leaf in enumerate(keras.tree.flatten(tree)):
            arrays[f"{name}_{number}"] = _plain(leaf)
    about = {"version": _VERSION, "settings": settings, "log": state.log}
    arrays["about"] = np.array(json.dumps(about))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read(path: pathlib.Path, like: State, settings: Config) -> State:
    """Reads a state, or returns that given if there is none yet.

    Args:
        path: the path of the file.
        like: the state before any round, of the same structures.
        settings: what the file must be of.

    Raises:
        ValueError: if the file is of other settings or a newer version; it is
            left alone.
    """
    if not path.exists():
        return like
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        if about["version"] != _VERSION or about["settings"] != settings:
            raise ValueError(
                "`directory` must be new, or of a learner with the same "
                f"settings {settings}. Received: {path}, of version "
                f"{about['version']} and settings {about['settings']}"
            )

        def tree(name: str, of: Any) -> Any:
            count = len(keras.tree.flatten(of))
            leaves = [file[f"{name}_{i}"] for i in range(count)]
            return keras.tree.pack_sequence_as(of, leaves)

        pending = dict(file).get("pending")
        found = State(
            file["asked"],
            tree("x", like.x),
            tree("y", like.y),
            pending,
            None if pending is None else tree("pending_x", like.x),
            about["log"],
        )
    first = len(keras.tree.flatten(like.x)[0])
    pairs = zip(
        keras.tree.flatten((like.x, like.y)),
        keras.tree.flatten((found.x, found.y)),
        strict=True,
    )
    if not all(np.array_equal(a, b[:first]) for a, b in pairs):
        raise ValueError(
            "`directory` must be new, or of a learner that began with the same "
            f"rows. Received: {path}, which began with other `x` or `y`"
        )
    return found


def _plain(leaf: Array) -> Array:
    """Makes strings that are objects, which only pickles would hold, plain."""
    return leaf.astype(np.bytes_) if leaf.dtype == object else leaf
