"""Trains members as separate jobs, in processes or on other machines."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, data
from tfpbnn.base.cores import num_cores
from tfpbnn.base.progress import Bar
from tfpbnn.ensembles.deep.feeds import counted, example_weights
from tfpbnn.ensembles.jobs.arrays import load_arrays, save_arrays
from tfpbnn.networks import reading

# What all jobs read from the same files.
_SHARED = ("x", "y", "validation_data")


class MemberTrainingError(RuntimeError):
    """Says which members of an ensemble could not be trained; the others were.

    Attributes:
        failures: the exceptions, by the index of the member.
    """

    def __init__(self, failures: Mapping[int, BaseException]):
        self.failures = dict(failures)
        causes = "; ".join(
            f"member {number}: {type(error).__name__}: {error}"
            for number, error in sorted(self.failures.items())
        )
        super().__init__(
            f"{len(self.failures)} of the members could not be trained "
            f"({causes}). The others are trained, and in the `directory` if "
            "one was given. Train those alone by `fit(..., executor=..., "
            f"members={sorted(self.failures)})`"
        )


def process_pool(
    max_workers: int | None = None, devices: Sequence[str] | None = None
) -> concurrent.futures.Executor:
    """Makes a pool of processes that share the machine's cores among them.

    Args:
        max_workers: the number of members that are trained at a time; None for
            one on each of `devices`, or 2.
        devices: the devices of the processes, such as `["GPU:0", "GPU:1"]`:
            each process takes one and sees no other of its kind. A device may
            be there twice, for two processes. None lets all see all.

    Returns:
        A `concurrent.futures.ProcessPoolExecutor` of new processes, each with
        as many threads as cores divided by `max_workers`.

    Raises:
        ValueError: if `max_workers` is not positive, or more than `devices`;
            if this machine has no such device.

    Example:
    ```python
    if __name__ == "__main__":
        with tfpbnn.ensembles.process_pool(2) as pool:
            ensemble.fit(x, y, epochs=20, executor=pool, directory="members")
    ```
    """
    if max_workers is None:
        max_workers = 2 if devices is None else len(devices)
    checks.positive_integer("max_workers", max_workers)
    context = multiprocessing.get_context("spawn")
    names = None
    if devices is not None:
        _check_devices(devices, max_workers)
        names = context.SimpleQueue()
        for name in devices:
            names.put(name)
    threads = max(1, num_cores() // max_workers)
    return concurrent.futures.ProcessPoolExecutor(
        max_workers,
        mp_context=context,
        initializer=_begin,
        initargs=(threads, names),
    )


def _check_devices(devices: Sequence[str], max_workers: int) -> None:
    """Raises if processes can't have these devices.

    Raises:
        ValueError: if there are too few, or this machine has not all of them.
    """
    known = [
        d.name.removeprefix("/physical_device:")
        for d in tf.config.list_physical_devices()
    ]
    if not set(devices) <= set(known) or max_workers > len(devices):
        raise ValueError(
            "`devices` must be one of this machine's devices for each of "
            f"`max_workers`, of {known}. Received: devices={list(devices)}, "
            f"max_workers={max_workers}"
        )


def _begin(threads: int, names: Any) -> None:
    """Begins a process: with so many threads, and the next of the devices."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if names is not None:
        kind, index = names.get().split(":")
        device = tf.config.list_physical_devices(kind)[int(index)]
        tf.config.set_visible_devices(device, kind)


def fit_in_jobs(
    model: Any,
    given: dict[str, Any],
    executor: Any = None,
    directory: Any = None,
    members: Sequence[int] | None = None,
) -> keras.callbacks.History:
    """Fits each member by itself, and sets the ensemble's weights to theirs.

    Args:
        model: the ensemble.
        given: the arguments of Keras's `fit`, by name.
        executor: an object with `submit`, like those of `concurrent.futures`;
            None to fit one member after the other in this process.
        directory: the folder for the members, which all jobs can reach; None
            for a temporary one.
        members: the indices of the members to fit; None for all.
    """
    if model.options.adversarial_epsilon:
        raise ValueError(
            "`adversarial_epsilon` needs members that are trained together. "
            "Received: members that are fitted one by one, by an executor or "
            "for the optimizer's sake"
        )
    numbers = range(model.num_members) if members is None else members
    for number in numbers:
        if number not in range(model.num_members):
            raise ValueError(
                "`members` must be numbers from 0 to below "
                f"{model.num_members}. Received: {number}"
            )
    _check_again(given)
    if executor is None:
        histories = _fit_here(model, given, numbers)
        return _joined(model, histories)
    if not hasattr(executor, "submit"):
        raise TypeError(
            "`executor` must have `submit`, as those of concurrent.futures, "
            "tfpbnn.ensembles.process_pool(2) or RayExecutor(). Received: "
            f"executor={executor!r}"
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(directory or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        # What jobs read goes with them; what else is there stays.
        with tempfile.TemporaryDirectory(prefix="jobs_", dir=folder) as jobs:
            histories = _fit_by(
                executor, model, given, numbers, folder, pathlib.Path(jobs)
            )
    return _joined(model, histories)


def load_members(model: Any, directory: Any) -> list[int]:
    """Sets members from the files of a folder; lists those that are not there.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    folder, missing = pathlib.Path(directory), []
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`directory` must be a folder. Received: {directory}"
        )
    for number in range(model.num_members):
        path = _path(folder, number)
        if path.exists():
            model.set_member(number, keras.saving.load_model(path))
        else:
            missing.append(number)
    return missing


def train_member(
    start: str, result: str, arrays: Any, arguments: dict[str, Any]
) -> dict[str, list[float]]:
    """Trains a member: the job that an executor runs.

    Args:
        start: the file of the compiled model.
        result: the file of the trained model, which appears only when it is
            complete.
        arrays: the paths that `save_arrays` returned for the data.
        arguments: the arguments of Keras's `fit`, other than the data.
    """
    model = keras.saving.load_model(start)
    history = model.fit(**load_arrays(arrays), **arguments)
    partial = f"{result}.partial.keras"
    model.save(partial)
    os.replace(partial, result)
    return history.history


def _check_again(given: dict[str, Any]) -> None:
    """Raises if the first member would use up the data."""
    for name in ("x", "validation_data"):
        if isinstance(given.get(name), Iterator):
            raise ValueError(
                f"`{name}` must be data that can be read again, since members "
                "are trained one by one. Received: "
                f"{name} of type {type(given[name]).__name__}. Pass arrays, a "
                "tf.data.Dataset or a keras.utils.PyDataset"
            )


def _fit_here(
    model: Any, given: dict[str, Any], numbers: Sequence[int]
) -> dict[int, Any]:
    histories = {}
    for number in numbers:
        member = model.member(number)
        histories[number] = member.fit(**_own(model, given, number)).history
        model.set_member(number, member)
    return histories


def _fit_by(
    executor: Any,
    model: Any,
    given: dict[str, Any],
    numbers: Sequence[int],
    folder: pathlib.Path,
    jobs: pathlib.Path,
) -> dict[int, Any]:
    for name in ("x", "validation_data"):
        if data.is_stream(given.get(name)):
            raise ValueError(
                f"`{name}` must be arrays if there is an `executor`, so that "
                f"jobs can be given them. Received: {type(given[name])}"
            )
    shared = {name: given[name] for name in _SHARED if name in given}
    paths = save_arrays(shared, jobs, "data")
    futures = {
        _submit(
            executor, model, given, number, _path(folder, number), jobs, paths
        ): number
        for number in numbers
    }
    bar = Bar(given.get("verbose", "auto"))
    bar.expect(len(futures))
    histories, failures = {}, {}
    try:
        for future in concurrent.futures.as_completed(futures):
            number = futures[future]
            try:
                histories[number] = future.result()
                path = _path(folder, number)
                model.set_member(number, keras.saving.load_model(path))
            except Exception as error:
                failures[number] = error
            bar.step()
    finally:
        for future in futures:
            future.cancel()
        concurrent.futures.wait(futures)
        bar.close()
    if failures:
        raise MemberTrainingError(failures)
    return histories


def _submit(
    executor: Any,
    model: Any,
    given: dict[str, Any],
    number: int,
    result: pathlib.Path,
    jobs: pathlib.Path,
    shared: Any,
) -> concurrent.futures.Future:
    own = _own(model, given, number)
    for name in _SHARED:
        own.pop(name, None)
    weights = {"sample_weight": own.pop("sample_weight", None)}
    start = jobs / f"member_{number}.keras"
    model.member(number).save(start)
    result.unlink(missing_ok=True)
    own["verbose"] = 0
    return executor.submit(
        train_member,
        str(start),
        str(result),
        shared | save_arrays(weights, jobs, f"member_{number}"),
        own,
    )


def _own(model: Any, given: dict[str, Any], number: int) -> dict[str, Any]:
    """Makes the arguments of a member's `fit`, with its weights of rows."""
    own = dict(given)
    if model.options.bootstrap is None:
        return own
    weights = example_weights(
        own.get("y"),
        own.pop("sample_weight", None),
        own.pop("class_weight", None),
    )
    names = reading.input_names(model)
    rows = data.length(data.as_arrays("x", own["x"], names, is_finite=False))
    counts = model.options.bootstrap_counts(rows, model.num_members)
    own["sample_weight"] = counted(counts[:, number], weights)
    return own


def _path(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"member_{number}.keras"


def _joined(model: Any, histories: dict[int, Any]) -> keras.callbacks.History:
    """Averages the histories over members.

    An epoch's average is over the members that had this epoch.
    """
    names = {name for history in histories.values() for name in history}
    epochs = max((len(h["loss"]) for h in histories.values()), default=0)
    table = {
        name: np.full((epochs, model.num_members), np.nan) for name in names
    }
    for number, history in histories.items():
        for name, values in history.items():
            table[name][: len(values), number] = values
    model.member_history = {
        name: list(table[name])
        for name in ("loss", "val_loss")
        if name in table
    }
    joined = keras.callbacks.History()
    joined.set_model(model)
    joined.on_train_begin()
    for epoch in range(epochs):
        joined.on_epoch_end(
            epoch,
            {
                name: float(np.nanmean(rows[epoch]))
                for name, rows in table.items()
            },
        )
    return joined
