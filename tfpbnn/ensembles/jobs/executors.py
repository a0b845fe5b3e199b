"""Trains members as jobs of their own: in processes, or on machines."""

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
from tfpbnn.base.progress import Bar
from tfpbnn.ensembles.deep.feeds import counted, example_weights
from tfpbnn.ensembles.jobs.arrays import load_arrays, save_arrays

# What all jobs read from the same files.
_SHARED = ("x", "y", "validation_data")


class MemberTrainingError(RuntimeError):
    """Some members of an ensemble could not be trained; the others were.

    Attributes:
        failures: the exceptions by the member's number.
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


def process_pool(max_workers: int = 2) -> concurrent.futures.Executor:
    """A pool of processes that share the machine's cores between them.

    Args:
        max_workers: how many members are trained at a time.

    Returns:
        A `concurrent.futures.ProcessPoolExecutor` of new processes, each with
        as many threads as cores divided by `max_workers`.

    Raises:
        ValueError: if `max_workers` is not positive.

    Example:
    ```python
    if __name__ == "__main__":
        with tfpbnn.ensembles.process_pool(2) as pool:
            ensemble.fit(x, y, epochs=20, executor=pool, directory="members")
    ```
    """
    checks.positive_integer("max_workers", max_workers)
    threads = max(1, (os.cpu_count() or 1) // max_workers)
    return concurrent.futures.ProcessPoolExecutor(
        max_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_limit_threads,
        initargs=(threads,),
    )


def _limit_threads(count: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def fit_in_jobs(
    model: Any,
    given: dict[str, Any],
    executor: Any = None,
    directory: Any = None,
    members: Sequence[int] | None = None,
) -> keras.callbacks.History:
    """Fits each member by itself, and takes over its weights.

    Args:
        model: the ensemble.
        given: arguments of Keras's `fit`.
        executor: with `submit`, as those of `concurrent.futures`; None to fit
            one after the other here.
        directory: where members are kept, which all jobs can reach; None for a
            temporary one.
        members: the numbers of those to fit; None for all.
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
    """Takes over finished members; the numbers of those that are not there.

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
    """The job: a model from a file, trained, into another file.

    Args:
        start: of the compiled model.
        result: of the trained one: it is there only when it is whole.
        arrays: what `save_arrays` gave of the data.
        arguments: of Keras's `fit`, other than the data.
    """
    model = keras.saving.load_model(start)
    history = model.fit(**load_arrays(arrays), **arguments)
    partial = f"{result}.partial.keras"
    model.save(partial)
    os.replace(partial, result)
    return history.history


def _check_again(given: dict[str, Any]) -> None:
    """Raises for data that the first member would use up."""
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
    """The arguments of a member's `fit`, with its weights of rows."""
    own = dict(given)
    if model.options.bootstrap is None:
        return own
    weights = example_weights(
        own.get("y"),
        own.pop("sample_weight", None),
        own.pop("class_weight", None),
    )
    rows = data.length(data.as_arrays("x", own["x"]))
    counts = model.options.bootstrap_counts(rows, model.num_members)
    own["sample_weight"] = counted(counts[:, number], weights)
    return own


def _path(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"member_{number}.keras"


def _joined(model: Any, histories: dict[int, Any]) -> keras.callbacks.History:
    """Averages over members; epochs that one did not have don't count in it."""
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
