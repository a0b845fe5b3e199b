"""Chains in a file, written while they run."""

import json
import os
import pathlib
import time
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn.base.types import Config
from tfpbnn.mcmc.chains import Chains
from tfpbnn.mcmc.program import ChainState, Trace

_VERSION = 3
# Writing takes at most about a twentieth of the time.
_SECONDS, _SHARE = 10.0, 20.0
# What NumPy raises of files that are no archives of arrays, or not whole.
_UNREADABLE = (EOFError, KeyError, OSError, TypeError, ValueError)


class Checkpoint:
    """A file with all that chains need to go on, bit for bit.

    It is an archive of NumPy arrays, without pickled objects. It is written
    under another name and then renamed, so that at any time the file is whole.
    """

    def __init__(self, path: Any, settings: Config):
        """Begins with no file.

        Args:
            path: where it is to be.
            settings: what the chains depend on, as plain data.

        Raises:
            ValueError: if there can't be a file.
        """
        self.path = pathlib.Path(os.path.expanduser(path))
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ValueError(
                "`checkpoint` must be a file in a folder that is there. "
                f"Received: checkpoint={str(path)!r}"
            )
        # As they are read back: numbers may be NumPy's.
        text = json.dumps(
            settings | {"version": _VERSION}, default=lambda n: n.item()
        )
        self._settings: Config = json.loads(text)
        self._next = time.monotonic() + _SECONDS

    def is_due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() >= self._next

    def write(self, groups: Sequence[Chains]) -> None:
        """Writes where the chains are, and what they have drawn.

        Where that fails, as on a full disk, it warns: the draws in memory are
        not to be lost.
        """
        began = time.monotonic()
        try:
            self._write(groups)
        except OSError as error:
            warnings.warn(
                f"The chains go on, but can't be written to {self.path}: "
                f"{error}",
                stacklevel=2,
            )
        took = time.monotonic() - began
        self._next = time.monotonic() + max(_SECONDS, _SHARE * took)

    def _write(self, groups: Sequence[Chains]) -> None:
        arrays = {}
        for number, group in enumerate(groups):
            # Both are of one call: threads go on meanwhile.
            state, traces = group.snapshot()
            for index, leaf in enumerate(keras.tree.flatten(state)):
                arrays[f"state_{number}_{index}"] = np.asarray(leaf)
            if traces is not None:
                for name, values in traces._asdict().items():
                    arrays[f"trace_{number}_{name}"] = values
        arrays["settings"] = np.array(json.dumps(self._settings))
        part = self.path.with_name(f"{self.path.name}.part")
        with open(part, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def resumed(self, groups: list[Chains], most: int) -> list[Chains]:
        """The chains of the file, if there is one; else those given.

        Args:
            groups: chains that have not moved.
            most: how many steps they are to make.

        Raises:
            ValueError: if the file is none of this class or of other
                settings, or its chains have made more steps; it is left alone.
        """
        if not self.path.exists():
            return groups
        self._check(self._read_settings())
        with np.load(self.path, allow_pickle=False) as file:
            found = [
                Chains(_state(file, number, group.state), _traces(file, number))
                for number, group in enumerate(groups)
            ]
        done = max((group.done for group in found), default=0)
        if done > most:
            raise ValueError(
                "`num_samples` must be as many draws as `checkpoint` has, or "
                f"more. Received: chains for {most} steps, and {self.path} has "
                f"{done}. Give another path, or raise `num_samples`"
            )
        return found

    def _read_settings(self) -> Config:
        try:
            with (
                open(self.path, "rb") as stream,
                np.load(stream, allow_pickle=False) as file,
            ):
                found: Config = json.loads(str(file["settings"]))
        except (*_UNREADABLE, zipfile.BadZipFile) as error:
            raise ValueError(
                "`checkpoint` must be a new file, or one that chains were "
                f"written to. Received: {self.path}. Give another path, or "
                f"remove the file to begin anew. It can't be read: {error}"
            ) from error
        return found

    def _check(self, found: Config) -> None:
        other = [
            f"{name}={found.get(name)!r} (now {value!r})"
            for name, value in self._settings.items()
            if found.get(name) != value
        ]
        if other:
            raise ValueError(
                "`checkpoint` must be a new file, or one of the same model, "
                f"data and arguments. Received: {self.path}, which was "
                f"written with {', '.join(other)}. Give another path, or "
                "remove the file to begin anew"
            )


def _state(file: Any, number: int, like: ChainState) -> ChainState:
    count = len(keras.tree.flatten(like))
    leaves = [file[f"state_{number}_{index}"] for index in range(count)]
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, leaves)
    return keras.tree.pack_sequence_as(like, tensors)


def _traces(file: Any, number: int) -> list[Trace]:
    names = [f"trace_{number}_{name}" for name in Trace._fields]
    if names[0] not in file.files:
        return []
    return [Trace(*(file[name] for name in names))]
