"""Backs up trainings, so that one that was killed ends as if it was not."""

import json
import os
import pathlib
import shutil
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks, keras_private
from tfpbnn.distribute import agreement, replicas

_WEIGHTS = "model.weights.h5"
_REST = "rest.json"


class BackupAndRestore(keras.callbacks.Callback):
    """Backs up a training at its epochs' ends, and goes on from there.

    It is `keras.callbacks.BackupAndRestore` with what that leaves out. The
    state of all random numbers is kept, also that of Keras's dropout, so that
    a training that is killed and started again ends with the weights, bit for
    bit, that it would have had. A backup appears at once, or not at all. Of
    several workers the chief writes it and all read it, from a folder that they
    share. If one worker dies, the others end with an error, and all are to be
    started again.

    The order in which `fit` or a dataset shuffles rows is not kept: for the
    same bits take `shuffle=False`, with rows that were shuffled once. Nor are
    attributes of other callbacks, such as the patience of `EarlyStopping`.

    Args:
        backup_dir: the folder, which is for this alone.
        save_freq: the number of epochs between backups.
        delete_checkpoint: whether to delete the backup when training ends.

    Raises:
        ValueError: if `backup_dir` is empty, or `save_freq` is not a positive
            integer; in `fit`, if the model is not built, if the backup is of
            another model, or if workers have found different backups.

    Example:
    ```python
    model.fit(
        x,
        y,
        epochs=50,
        shuffle=False,
        callbacks=[tfpbnn.callbacks.BackupAndRestore("backup")],
    )
    ```
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int = 1,
        *,
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if not os.fspath(backup_dir):
            raise ValueError(
                "`backup_dir` must be the path of a folder. Received: "
                f"backup_dir={backup_dir!r}"
            )
        if save_freq == "epoch":  # as Keras has it
            save_freq = 1
        self.backup_dir = pathlib.Path(backup_dir)
        self.save_freq = checks.positive_integer("save_freq", save_freq)
        self.delete_checkpoint = delete_checkpoint

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the newest backup, if there is one."""
        self._check_built()
        found = self._newest()
        epoch = 0 if found is None else _epoch(found)
        strategy = self.model.distribute_strategy
        if replicas.is_multi_worker(strategy):
            folder = str(self.backup_dir)
            agreement.agree({f"the backup in {folder}": epoch}, strategy)
        if found is not None:
            self._restore(found)
            keras_private.begin_at_epoch(self.model, epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes a backup, where one is due."""
        if (epoch + 1) % self.save_freq == 0 and self._is_chief():
            self._write(epoch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        """Deletes the backup, and lets the next `fit` begin anew."""
        keras_private.begin_at_epoch(self.model, None)
        if self.delete_checkpoint and self._is_chief():
            shutil.rmtree(self.backup_dir, ignore_errors=True)

    def _check_built(self) -> None:
        if not self.model.built:
            raise ValueError(
                "`model` must be built before its training can be restored. "
                f"Received: {self.model.name}, which is not. Give it a "
                "`keras.Input`, or call it on a row"
            )
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            with self.model.distribute_strategy.scope():
                optimizer.build(self.model.trainable_variables)

    def _is_chief(self) -> bool:
        strategy = self.model.distribute_strategy
        if not replicas.is_multi_worker(strategy):
            return True
        resolver = strategy.cluster_resolver
        has_chief = "chief" in resolver.cluster_spec().jobs
        kind = "chief" if has_chief else "worker"
        return resolver.task_type == kind and resolver.task_id == 0

    def _newest(self) -> pathlib.Path | None:
        """Finds the last backup that was finished."""
        every = self.backup_dir.glob("epoch-*")
        return max(every, key=_epoch, default=None)

    def _write(self, epoch: int) -> None:
        """Writes a backup beside the last, which goes when it is there."""
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        unfinished = self.backup_dir / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        self.model.save_weights(unfinished / _WEIGHTS)
        rest = [v.numpy().tolist() for v in self._seed_states()]
        (unfinished / _REST).write_text(json.dumps({"seeds": rest}))
        _to_disk(unfinished)
        new = self.backup_dir / f"epoch-{epoch}"
        shutil.rmtree(new, ignore_errors=True)
        unfinished.rename(new)
        for old in self.backup_dir.glob("epoch-*"):
            if old != new:
                shutil.rmtree(old, ignore_errors=True)

    def _restore(self, found: pathlib.Path) -> None:
        states = self._seed_states()
        seeds = json.loads((found / _REST).read_text())["seeds"]
        if len(seeds) != len(states):
            raise ValueError(
                "`backup_dir` must hold a backup of this model. Received: "
                f"{found}, with {len(seeds)} generators of random numbers, "
                f"where {self.model.name} has {len(states)}. Delete the folder "
                "to begin anew"
            )
        self.model.load_weights(found / _WEIGHTS)
        for state, seed in zip(states, seeds, strict=True):
            state.assign(np.array(seed, state.dtype))

    def _seed_states(self) -> list[Any]:
        """Lists the states of Keras's generators, which are no weights."""
        return list(filter(keras_private.is_seed_state, self.model.variables))


def _epoch(folder: pathlib.Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _to_disk(folder: pathlib.Path) -> None:
    """Waits until files are on the disk, and not only on their way."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
