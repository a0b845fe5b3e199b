"""Goes over data in pieces that fit the memory."""

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfpbnn import random
from tfpbnn.base import data
from tfpbnn.base.padding import joined
from tfpbnn.base.progress import Bar
from tfpbnn.distribute import devices
from tfpbnn.distribute.workers import Workers, interleaved
from tfpbnn.networks import missing, reading
from tfpbnn.particles import engine, functions
from tfpbnn.particles.ways import Draws
from tfpbnn.prediction.parts import Keeper, Part

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


class Run:
    """A pass of a model over data, in pieces of rows and draws.

    Attributes:
        draws: how draws are made; None until the first rows of a stream are
            there, if the cheapest way was asked for.
        num_samples: the number of draws.
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
        self._x = x = reading.by_input(model, x)
        self.num_samples = 1 if draws is Draws.MEAN else num_samples
        self._antithetic = antithetic
        strategy = devices.strategy_of(model)
        self._devices = devices.Devices(strategy)
        self._workers = Workers(strategy)
        seed = random.any_seed() if seed is None else seed
        budget = memory_budget or max(free_memory() // 4, _LEAST_MEMORY)
        # Of the first worker, so that all cut and draw alike.
        seed, self._budget = self._workers.gathered((seed, budget))[0]
        self._key = random.as_key(seed)
        self._workers.check_same(
            {
                "num_samples": num_samples,
                "draws": draws,
                "antithetic": antithetic,
                "x": None if data.is_stream(x) else data.length(x),
            }
        )
        self._expected: int | None = None
        self._stopped_after: int | None = None
        self._is_stream = data.is_stream(x)
        self._function: functions.DrawFunction | None = None
        self.draws = draws
        if not self._is_stream:
            self._function_for(x)

    def over(
        self, batch_size: int | None, verbose: Any, keeper: Keeper
    ) -> tuple[list[Any], Any]:
        """Collects what is kept of each piece of rows, and the targets of x.

        The targets come with their weights, as (y, sample_weight), or are None
        if x brings none.

        An interrupt ends the pass with a warning; the rows that are done stay.
        Of several workers each makes its share of the pieces, and has all of
        them in the end.
        """
        size = batch_size or _BATCH_SIZE
        if not (batch_size or self._is_stream):
            function = self._function_for(self._x)
            size = function.rows or min(size, self._most_rows(self._x))
        bar = Bar(verbose)
        targets: list[Any] = []
        parts = self._parts(size, bar, targets)
        found = self._workers.together(
            lambda: self._own_pieces(parts, bar, keeper)
        )
        bar.close()
        collected = interleaved(found)
        if self._stopped_after is not None:
            warnings.warn(
                f"Interrupted: the prediction is of the first "
                f"{self._stopped_after} of "
                f"{data.num_batches(self._x, size) or 'an unknown number of'} "
                "batches.",
                stacklevel=4,
            )
            targets = targets[: self._stopped_after]
        if not collected:
            raise ValueError("`x` must have one row or more. Received: none")
        if not targets:
            return collected, None
        return collected, keras.tree.map_structure(_joined, *targets)

    def stream(
        self, batch_size: int | None, keeper: Keeper
    ) -> Iterator[list[Any]]:
        """Yields what is kept of each batch, in pieces, and forgets it.

        Of W workers, worker w makes the batches w, w + W, ...; they may go
        through them at their own pace.
        """
        parts = self._parts(batch_size or _BATCH_SIZE, Bar(0), [], True)
        found = []
        for piece, batches in self._pieces(parts, Bar(0), keeper):
            found.append(piece)
            if batches:
                yield found
                found = []

    def _own_pieces(
        self, parts: Iterator[Part], bar: Bar, keeper: Keeper
    ) -> list[Any]:
        """Collects what is kept of the pieces that this worker makes."""
        done: list[Any] = []  # in batches that are done
        found: list[Any] = []  # in the batch that is not yet
        count = 0
        try:
            for piece, batches in self._pieces(parts, bar, keeper):
                found.append(piece)
                if not done and len(found) == 1:
                    _check_fits(found, self._expected)
                if batches:
                    count, done, found = batches, done + found, []
        except KeyboardInterrupt:
            if not done or self._workers.count > 1:
                raise
            self._stopped_after = count
            return done
        return done + found

    def _pieces(
        self, parts: Iterator[Part], bar: Bar, keeper: Keeper
    ) -> Iterator[tuple[Any, int]]:
        """Yields what is kept of each piece, and how many batches are done."""
        taken: list[Any] = []
        for part, kept in self._made(parts, keeper):
            bar.step()
            taken.append(kept)
            if not part.ends_piece:
                continue
            found = keeper.piece(taken, part.function.masks(part.x))
            taken = []
            self._check_finite(part.x, found)
            is_mean = self.draws is Draws.MEAN
            part.function.leave_state(part.x, None if is_mean else self._key)
            yield found, part.batches

    def _made(
        self, parts: Iterator[Part], keeper: Keeper
    ) -> Iterator[tuple[Part, Any]]:
        """Makes parts, on whichever device is free; yields them in order."""

        def make(part: Part) -> Any:
            return keeper.take(self._outputs(part))

        first = next(parts, None)
        if first is None:
            return
        effects = first.function.effects
        # What a draw leaves behind is what the next one begins with.
        is_alone = effects.in_order or effects.states or effects.counters
        if is_alone and self._workers.count > 1:
            raise ValueError(
                "`model` must keep no state from draw to draw where workers "
                f"share the rows. Received: {self._model.name}, which does, "
                f"and {self._workers.count} workers. Use it outside of a "
                "strategy, or without stateful=True"
            )
        own = self._devices.first() if is_alone else self._devices
        if not self._is_own(first):
            make(first)  # else a worker without rows knows no outputs
        mine = filter(self._is_own, itertools.chain([first], parts))
        yield from own.map(make, mine)

    def check_random(self) -> None:
        """Raises if all draws are the same because nothing is random."""
        if self.draws is Draws.MEAN:
            return
        assert self._function is not None
        self._function.effects.check_random("`model`", 'draws="mean"')

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

    def _check_finite(self, batch: Any, found: Any) -> None:
        """Raises if inputs have NaN that the model does not see to itself."""
        try:
            data.check_finite("x", batch)
        except ValueError:
            is_finite = data.are_finite(found)
            if is_finite and missing.is_seen_to(self._model, batch):
                return
            names = reading.input_names(self._model)
            # The place in all rows, where these are known.
            all_rows = batch if self._is_stream else self._x
            data.check_finite("x", all_rows, inputs=names)
            raise

    def _parts(
        self, size: int, bar: Bar, targets: list[Any], by_batch: bool = False
    ) -> Iterator[Part]:
        """Cuts batches into pieces, and those into parts; keeps targets."""
        total = data.num_batches(self._x, size)
        number = row = 0
        batches = data.weighted_batches(self._x, size)
        for index, (batch, *brought) in enumerate(batches):
            batch = reading.by_input(self._model, batch)
            pieces = [batch]
            if self._is_stream or by_batch:
                pieces = self._split(batch, self._most_rows(batch))
            self._expected = total and total * len(pieces)
            steps = len(self._stops(pieces[0]))
            bar.expect(
                total and -(-total * len(pieces) // self._workers.count) * steps
            )
            if brought[0] is not None:
                targets.append(keras.tree.map_structure(_array, brought))
            for place, piece in enumerate(pieces):
                is_last = place == len(pieces) - 1
                turn = index if by_batch else number
                yield from self._cut(piece, turn, row, is_last and index + 1)
                number, row = number + 1, row + data.length(piece)

    def _cut(
        self, x: Any, turn: int, first_row: int, batches: int
    ) -> Iterator[Part]:
        """Cuts the draws of a piece of rows into parts."""
        function = self._function_for(x)
        if function.rows not in (None, data.length(x)):
            raise ValueError(
                f"`x` must come in batches of {function.rows} rows, of each of "
                f"which model {self._model.name} keeps a state. Received: "
                f"{data.length(x)} rows. Pass batch_size={function.rows}, "
                "and a multiple of as many rows"
            )
        start = 0
        for stop in self._stops(x):
            is_last = stop == self.num_samples
            yield Part(
                function,
                x,
                turn,
                first_row,
                start,
                stop,
                is_last,
                batches if is_last else 0,
            )
            start = stop

    def _is_own(self, part: Part) -> bool:
        """Says whether this worker makes a part: workers take turns."""
        return part.turn % self._workers.count == self._workers.index

    def _outputs(self, part: Part) -> Any:
        """Computes the outputs of a part, `[d, B, ...]`."""
        if self.draws is Draws.MEAN:
            return part.function.mean(part.x)
        assert self.draws is not None
        return part.function.draws(
            part.x,
            self._key,
            part.start,
            part.stop,
            self.draws,
            part.first_row,
        )

    def _stops(self, x: Any) -> list[int]:
        """Lists the ends of the parts of draws of some rows."""
        if self.draws is Draws.MEAN:
            return [1]
        assert self.draws is not None
        costs, rows = self._function_for(x).costs(x), data.length(x)
        way = costs.way(self.draws, rows)
        step = costs.draws_per_call(way, rows, self._budget)
        # Of few rows, draws are shared. A loop's are the same in any part.
        count = len(self._devices.names)
        if not way.is_stacked and (self._expected or count) < count:
            step = min(step, math.ceil(self.num_samples / count))
        stops = range(step, self.num_samples, step)
        return [*stops, self.num_samples]

    def _most_rows(self, x: Any) -> int:
        """Counts the rows that fit the memory, at the least number of draws."""
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
    """Joins the targets, or their weights, of all batches."""
    missing = sum(leaf is None for leaf in leaves)
    if missing == len(leaves):
        return None
    if missing:
        raise ValueError(
            "`x` must bring targets and weights with all of its batches or "
            f"with none. Received: {missing} of {len(leaves)} batches without"
        )
    return joined(leaves)


def _check_fits(found: Any, batches: int | None) -> None:
    """Raises if the memory can't hold what is collected of all batches."""
    sizes = (getattr(x, "nbytes", 0) for x in keras.tree.flatten(found))
    total = sum(sizes) * (batches or 1)
    if total > free_memory():
        raise ValueError(
            f"The draws of all rows take {total / 2**30:.1f} GiB, more than "
            "the memory that is free. Predict with keep_draws=False, which "
            "keeps averages over draws, or fewer rows or draws at a time."
        )


def free_memory() -> int:
    """Reads how many bytes of memory are free; a guess if it is unknown."""
    try:
        with open("/proc/meminfo") as file:
            line = next(x for x in file if x.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return 2**31
