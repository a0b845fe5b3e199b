"""Goes over data in pieces that fit the memory."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfpbnn import random
from tfpbnn.base import data
from tfpbnn.base.progress import Bar
from tfpbnn.particles import engine, functions
from tfpbnn.particles.ways import Draws

_BATCH_SIZE = 1024
_LEAST_MEMORY = 2**28
# What a stream, which doesn't tell, is taken to have.
_MANY_ROWS = 2**20
# What draws that are by row need of a model.
_NEEDS = {
    Draws.MARGINAL: "is exact only where each row meets each kernel once: in "
    "Functional or Sequential models whose random layers are dense, used once, "
    "with independent Normals, and whose rows never meet",
    Draws.MIXED: "needs a Functional or Sequential model whose first random "
    "layer is dense, used once, with independent Normals, others after it, and "
    "rows that never meet",
}
# From outputs `[d, B, ...]` of some draws after another, and the masks of the
# outputs, to what is kept.
Collect = Callable[[Iterator[Any], list[Any]], Any]


class Run:
    """One pass of a model over data, in pieces of rows and draws.

    Attributes:
        draws: how draws are made; None, for the cheapest way, only until the
            first rows of a stream are there.
        num_samples: how many draws there are.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        num_samples: int,
        *,
        draws: Draws | None,
        seed: int | None,
        antithetic: bool,
        memory_budget: int | None,
    ):
        self._model = model
        self._x = x
        self.num_samples = 1 if draws is Draws.MEAN else num_samples
        self._key = random.as_key(random.any_seed() if seed is None else seed)
        self._antithetic = antithetic
        self._budget = memory_budget or max(free_memory() // 4, _LEAST_MEMORY)
        self._first_row = 0
        self._is_stream = data.is_stream(x)
        self._function: functions.DrawFunction | None = None
        self.draws = draws
        if not self._is_stream:
            self._function_for(x)

    def over(
        self, batch_size: int | None, verbose: Any, collect: Collect
    ) -> tuple[list[Any], Any]:
        """What was collected of each piece of rows, and the targets of x.

        The targets come with their weights, as (y, sample_weight), or are None
        if x brings none.

        An interrupt ends the pass, with a warning, where rows are done.
        """
        size = batch_size or _BATCH_SIZE
        if not (batch_size or self._is_stream):
            size = min(size, self._most_rows(self._x))
        total = data.num_batches(self._x, size)
        done = 0
        collected: list[Any] = []
        targets: list[Any] = []
        bar = Bar(verbose)
        try:
            for batch, *brought in data.weighted_batches(self._x, size):
                pieces = [batch]
                if self._is_stream:
                    pieces = self._split(batch, self._most_rows(batch))
                bar.expect(total and total * len(pieces) * self._steps(pieces))
                found = [self._collected(part, bar, collect) for part in pieces]
                done, collected = done + 1, collected + found
                if done == 1:
                    _check_fits(found, total)
                if brought[0] is not None:
                    targets.append(keras.tree.map_structure(_array, brought))
        except KeyboardInterrupt:
            if not collected:
                raise
            warnings.warn(
                f"Interrupted: the prediction is of the first {done} "
                f"of {total or 'an unknown number of'} batches.",
                stacklevel=4,
            )
        bar.close()
        if not collected:
            raise ValueError("`x` must have one row or more. Received: none")
        if not targets:
            return collected, None
        return collected, keras.tree.map_structure(_joined, *targets)

    def check_random(self) -> None:
        """Raises if every draw was the same by construction."""
        if self.draws is Draws.MEAN:
            return
        assert self._function is not None
        if not self._function.effects.is_random:
            raise ValueError(
                "`model` has nothing random in it, so all draws are the same. "
                "Replace some of its layers by variational ones (such as "
                'tfpbnn.layers.DenseFlipout), or pass draws="mean" for a '
                "single pass."
            )

    def _function_for(self, x: Any) -> functions.DrawFunction:
        if self._function is not None and not self._is_stream:
            return self._function  # The batches of arrays are all of one kind.
        function = engine.draw_function(self._model, x, self._antithetic)
        # There is no more to learn from the same draws again.
        most = function.num_draws or self.num_samples
        self.num_samples = min(self.num_samples, most)
        if self.draws is Draws.MEAN and not function.has_mean:
            raise ValueError(
                'draws="mean" needs a posterior that one network can stand '
                f"for. Received: model {self._model.name}, an ensemble. "
                "Average its members: `predict` without `draws=`."
            )
        costs = function.costs(x)
        if self.draws is None:
            # Not by the size of a stream's batches: draws don't depend on it.
            rows = _MANY_ROWS if self._is_stream else data.length(x)
            self.draws = costs.cheapest(rows)
        if self.draws in _NEEDS and self.draws not in costs.works:
            found = f" with {costs.obstacle}" if costs.obstacle else ""
            raise ValueError(
                f'draws="{self.draws.value}" {_NEEDS[self.draws]}. Received: '
                f'model {self._model.name}{found}. Use draws="coherent".'
            )
        self._function = function
        return function

    def _collected(self, batch: Any, bar: Bar, collect: Collect) -> Any:
        masks = self._function_for(batch).masks(batch)
        return collect(self._draws(batch, bar), masks)

    def _draws(self, batch: Any, bar: Bar) -> Iterator[Any]:
        """Outputs of some draws after another, `[d, B, ...]`."""
        function = self._function_for(batch)
        rows = data.length(batch)
        start = 0
        for stop in self._stops(function, batch):
            if self.draws is Draws.MEAN:
                yield function.mean(batch)
            else:
                assert self.draws is not None
                yield function.draws(
                    batch, self._key, start, stop, self.draws, self._first_row
                )
            start = stop
            bar.step()
        is_mean = self.draws is Draws.MEAN
        function.leave_state(batch, None if is_mean else self._key)
        self._first_row += rows

    def _stops(self, function: functions.DrawFunction, batch: Any) -> list[int]:
        """Where the steps of draws end."""
        if self.draws is Draws.MEAN:
            return [1]
        assert self.draws is not None
        costs, rows = function.costs(batch), data.length(batch)
        way = costs.way(self.draws, rows)
        step = costs.draws_per_call(way, rows, self._budget)
        stops = range(step, self.num_samples, step)
        return [*stops, self.num_samples]

    def _steps(self, pieces: list[Any]) -> int:
        return len(self._stops(self._function_for(pieces[0]), pieces[0]))

    def _most_rows(self, x: Any) -> int:
        """How many rows, at the least number of draws, fit the memory."""
        costs = self._function_for(x).costs(x)
        each = costs.shared_bytes_per_row + 2 * costs.bytes_per_row
        return max(1, self._budget // max(1, each))

    def _split(self, batch: Any, most: int) -> list[Any]:
        rows = data.length(batch)
        if rows <= most:
            return [batch]
        return [piece for piece, _ in data.batches(batch, most)]


def _array(leaf: Any) -> Any:
    return None if leaf is None else np.asarray(leaf)


def _joined(*leaves: Any) -> Any:
    """The targets, or their weights, of all batches."""
    missing = sum(leaf is None for leaf in leaves)
    if missing == len(leaves):
        return None
    if missing:
        raise ValueError(
            "`x` must bring targets and weights with all of its batches or "
            f"with none. Received: {missing} of {len(leaves)} batches without"
        )
    return np.concatenate(leaves)


def _check_fits(found: Any, batches: int | None) -> None:
    """Raises if so many batches of what was collected can't be held."""
    sizes = (getattr(x, "nbytes", 0) for x in keras.tree.flatten(found))
    total = sum(sizes) * (batches or 1)
    if total > free_memory():
        raise ValueError(
            f"The draws of all rows take {total / 2**30:.1f} GiB, more than "
            "the memory that is free. Predict with keep_draws=False, which "
            "keeps averages over draws, or fewer rows or draws at a time."
        )


def free_memory() -> int:
    """Bytes of memory that the machine has to spare; a guess if unknown."""
    try:
        with open("/proc/meminfo") as file:
            line = next(x for x in file if x.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return 2**31
