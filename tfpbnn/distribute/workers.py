"""Lets the workers of a strategy share work, and what came out of it."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array

# Numbers of 8 bytes in a message: 64 MiB.
_WORDS = 2**23


def interleaved(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """Joins what workers have, of which the w-th has those w, w + W, ..."""
    total = sum(map(len, shares))
    return [shares[i % len(shares)][i // len(shares)] for i in range(total)]


class Workers:
    """The processes that a strategy has, or this one alone.

    All of them run the same program, and call each method together.

    Attributes:
        count: the number of processes.
        index: which of them this one is.
    """

    def __init__(self, strategy: Any = None):
        """Finds the processes of a strategy; None for no strategy."""
        self._strategy = strategy
        self._local = 1
        self.count, self.index = 1, 0
        if strategy is not None:
            self._local = len(strategy.extended.worker_devices)
            self.count = max(1, strategy.num_replicas_in_sync // self._local)
        # TensorFlow makes a function of each `gather`: here it is made once.
        self._gather_words = tf.function(
            lambda row: strategy.gather(
                strategy.run(lambda: row[tf.newaxis]), axis=0
            ),
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
        )
        if self.count > 1:
            self.index = self._replica() // self._local

    def gathered(self, value: Any) -> list[Any]:
        """Returns what each worker has given, in the order of workers.

        Args:
            value: anything that can be pickled, such as arrays.
        """
        if self.count == 1:
            return [value]
        message = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        sizes = self._gather(np.array([len(message)]))[:, 0]
        words: Array = np.zeros(-(-int(sizes.max()) // 8), np.int64)
        words.view(np.uint8)[: len(message)] = np.frombuffer(message, np.uint8)
        parts = [
            self._gather(words[start : start + _WORDS])
            for start in range(0, len(words), _WORDS)
        ]
        rows = np.concatenate(parts, axis=1).view(np.uint8)
        return [
            pickle.loads(row[:size].tobytes())
            for row, size in zip(rows, sizes, strict=True)
        ]

    def together(self, work: Callable[[], Any]) -> list[Any]:
        """Runs work in each worker; returns what each has found, in order.

        Raises:
            RuntimeError: if work failed in another worker, which is named; the
                error of this one is raised as it is. So no worker waits for
                one that has given up.
        """
        if self.count == 1:
            return [work()]
        error = None
        try:
            found = (work(), "")
        except BaseException as raised:
            error = raised
            found = (None, f"{type(raised).__name__}: {raised}")
        everyone = self.gathered(found)
        if error is not None:
            raise error
        failed = {i: text for i, (_, text) in enumerate(everyone) if text}
        if failed:
            number, text = next(iter(failed.items()))
            raise RuntimeError(f"Worker {number} has failed. {text}")
        return [value for value, _ in everyone]

    def check_same(self, settings: dict[str, Any]) -> None:
        """Raises if workers have been given different arguments.

        Args:
            settings: the arguments by their names, as plain data.

        Raises:
            ValueError: with the first argument that differs.
        """
        everyone = self.gathered(settings)
        for name in settings:
            values = [given[name] for given in everyone]
            if any(value != values[0] for value in values):
                raise ValueError(
                    f"`{name}` must be the same in all workers. Received: "
                    + ", ".join(
                        f"{value!r} in worker {i}"
                        for i, value in enumerate(values)
                    )
                )

    def _gather(self, row: Array) -> Array:
        """Stacks a row of each worker, `[W, n]`."""
        return np.asarray(self._gather_words(row))[:: self._local]

    def _replica(self) -> int:
        """Returns the number of this process's first replica, of all."""

        def number() -> Any:
            context = tf.distribute.get_replica_context()
            return tf.convert_to_tensor(context.replica_id_in_sync_group)

        local = self._strategy.experimental_local_results(
            self._strategy.run(number)
        )
        return int(local[0])
