"""What a monitor does with predictions and labels, in one transaction."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.monitor import records, signals, sums
from tfpbnn.monitor.records import Kept, Scored
from tfpbnn.monitor.setup import INPUT, UNCERTAINTIES, Model, Setup

COLUMNS = (
    "id",
    "time",
    "epistemic",
    "aleatoric",
    "meta",
    "draws",
    "outputs",
)
_BUCKET_ROWS = 1000
_BUCKET_SECONDS = 3600.0


class Logged(NamedTuple):
    """What became of predictions that were logged.

    Attributes:
        written: how many are in the store, for good.
        duplicates: how many ids were there before; the first stays.
        lost: how many could not be written.
        pending: how many wait in memory, to be written with others.
    """

    written: int = 0
    duplicates: int = 0
    lost: int = 0
    pending: int = 0


class Observed(NamedTuple):
    """What became of labels.

    Attributes:
        scored: how many had a prediction, and are scored.
        waiting: how many have no prediction yet, and wait for it.
        repeated: how many were known, and are the same.
        changed: how many were known, and replace what they were.
        ignored: how many can't be scored: the loss ignores them, or the
            prediction was not a number.
        lost: how many could not be written.
    """

    scored: int = 0
    waiting: int = 0
    repeated: int = 0
    changed: int = 0
    ignored: int = 0
    lost: int = 0


class Alarm(NamedTuple):
    """An alarm of a monitor's tests.

    Attributes:
        signal: what was tested, such as "coverage mean".
        words: what has changed.
        time: when, in seconds since 1970.
        num_rows: after how many predictions or labels.
        e_value: how much the bet against "nothing has changed" has won.
    """

    signal: str
    words: str
    time: float
    num_rows: int
    e_value: float


class Rows(NamedTuple):
    """Predictions to write.

    Attributes:
        ids: their names, `[N]`, all different.
        model: that made them.
        kept: what is kept of them.
        inputs: columns of inputs, `[N]`, by name.
        meta: a JSON text for each, or None.
        time: when they were made, in seconds.
    """

    ids: list[str]
    model: Model
    kept: Kept
    inputs: dict[str, Array]
    meta: Sequence[str | None]
    time: float

    def written(self) -> list[tuple[Any, ...]]:
        """Returns rows of the table of predictions, of `COLUMNS`."""
        _, outputs, *parts, finite = self.kept
        data = np.ascontiguousarray(np.swapaxes(outputs, 0, 1)).tobytes()
        size = len(data) // len(self.ids)
        starts = range(0, len(data), size)
        found: list[Any] = [data[start : start + size] for start in starts]
        columns: list[Any] = [part.tolist() for part in parts]
        for i in np.flatnonzero(~finite):
            for column in (*columns, found):
                column[i] = None
        times, draws = (
            [each] * len(self.ids) for each in (self.time, len(outputs))
        )
        columns = [self.ids, times, *columns, self.meta, draws, found]
        return list(zip(*columns, strict=True))

    def values(self, some: Array) -> dict[str, Array]:
        """Takes the values of variables of some rows; NaN if not finite."""
        finite = self.kept.is_finite
        found = {
            name: np.where(finite, getattr(self.kept, name), np.nan)[some]
            for name in UNCERTAINTIES
        }
        return found | {
            f"{INPUT}{name}": column[some]
            for name, column in self.inputs.items()
        }


class Ledger:
    """One transaction of a monitor: all of it is written, or nothing.

    Args:
        transaction: of the store.
        tables: the store, which has the tables `predictions` and `labels`.
        setup: of the monitor.
        time: now, in seconds.

    Attributes:
        setup: of the monitor, which the first prediction completes.
    """

    def __init__(
        self, transaction: Any, tables: Any, setup: Setup, time: float
    ):
        self._at, self._tables = transaction, tables
        self._time = time
        self._num_rows = 0
        self._begin(setup)

    def _begin(self, setup: Setup) -> None:
        self.setup = setup
        self._parts: dict[str, Any] = {}
        self._tests = signals.tests(setup)
        signals.restore(self._tests, self._at.head["tests"])

    def count(self, **parts: Any) -> None:
        """Adds to parts of the sums, by their names."""
        for name, part in parts.items():
            self._parts[name] = self._parts.get(name, 0) + np.asarray(part)

    def log(self, rows: Rows) -> Logged:
        """Writes predictions, and scores labels that have waited for them.

        Raises:
            ValueError: if they are of another model than those before.
        """
        self._know(rows.model)
        table = self._tables.predictions
        known = self._at.find(table, rows.ids, "draws", "outputs")
        written = rows.written()
        fresh = np.array([key not in known for key in rows.ids], bool)
        new = [written[i] for i in np.flatnonzero(fresh)]
        again = [written[i] for i in np.flatnonzero(~fresh)]
        before = [known[row[0]].outputs for row in again]
        differ = [
            then is not None and then != row[-1]
            for then, row in zip(before, again, strict=True)
        ]
        self.count(duplicate=len(again), conflict=sum(differ))
        self._at.insert(table, COLUMNS, new)
        self._num_rows += len(new)
        if new:
            values = rows.values(fresh)
            finite = rows.kept.is_finite[fresh]
            self.count(**sums.of_predictions(self.setup, values, finite))
            if self._tests[0] is not None:
                x = signals.values_of_predictions(self.setup, values)
                self._tests[0].update(x)
        if self._at.head["waiting"]:
            self._match([row[0] for row in new])
        return Logged(len(new), len(again))

    def observe(self, ids: list[str], y: Array) -> Observed:
        """Writes labels, and scores those that have a prediction.

        Args:
            ids: of rows, all different.
            y: their labels, `[n, m]`.
        """
        known = self._at.find(self._tables.labels, ids, "y", "scores")
        found = self._scored(dict(zip(ids, y, strict=True)))
        new, changed, repeated = [], [], 0
        for key, label in zip(ids, y, strict=True):
            row = {
                "id": key,
                "time": self._time,
                "prediction": found.numbers.get(key),
                "y": label.tobytes(),
                "scores": found.written(key),
            }
            if key not in known:
                new.append(row)
            elif known[key].y == row["y"]:
                repeated += 1
            else:
                del row["time"]  # that of the first stays
                changed.append(row)
        names = ("id", "time", "prediction", "y", "scores")
        self._at.insert(
            self._tables.labels, names, [tuple(row.values()) for row in new]
        )
        self._at.update_labels(changed)
        self._replace([known[row["id"]].scores for row in changed], -1)
        self._replace([row["scores"] for row in changed], 1)
        scored = [row["id"] for row in new if row["scores"] is not None]
        self._take(scored, found)
        waiting = sum(row["prediction"] is None for row in new)
        ignored = len(new) - waiting - len(scored)
        self._at.head["waiting"] += waiting
        self.count(
            repeated=repeated,
            changed=len(changed),
            unknown=waiting,
            ignored=ignored,
        )
        return Observed(len(scored), waiting, repeated, len(changed), ignored)

    def close(self) -> list[Alarm]:
        """Writes sums and tests; returns the alarms that are new."""
        head = self._at.head
        if self._time < head["last_time"] - 1:
            self.count(backwards=1)
        head["last_time"] = self._time
        total = sums.pack(self.setup, self._parts)
        if total.any():
            last = next(self._at.buckets(limit=1), None)
            is_new = last is None or self._is_full(last)
            self._at.add_sums(total, self._time, self._num_rows, is_new)
        head["tests"] = signals.states(self._tests)
        known = {alarm[0] for alarm in head["alarms"]}
        fresh = [
            Alarm(signal.name, words, self._time, count, e_value)
            for signal, words, count, e_value in signals.alarms(
                self.setup, self._tests
            )
            if signal.name not in known
        ]
        head["alarms"] += fresh
        return fresh

    def _know(self, model: Model) -> None:
        """Learns, of the first prediction, what predictions are."""
        if self.setup.model is None:
            complete = dataclasses.replace(self.setup, model=model)
            self._at.save_setup(complete.dumps())
            self._begin(complete)
        model.check_same(self.setup.model)

    def _match(self, ids: list[str]) -> None:
        """Scores labels that came before their predictions."""
        found = self._at.find(self._tables.labels, ids, "y")
        y = {key: np.frombuffer(row.y) for key, row in found.items()}
        assert self.setup.model is not None
        fit = {
            k: label for k, label in y.items() if self.setup.model.fits(label)
        }
        scored = self._scored(fit)
        numbers = self._at.find(self._tables.predictions, list(y), "number")
        self._at.update_labels(
            [
                {
                    "id": key,
                    "prediction": numbers[key].number,
                    "scores": scored.written(key),
                }
                for key in y
            ]
        )
        self._at.head["waiting"] -= len(y)
        self.count(matched=len(y), unfit=len(y) - len(fit))
        self._take([key for key in ids if key in scored.scores], scored)

    def _scored(self, y: Mapping[str, Array]) -> "Matches":
        """Scores labels by id, of those that have a prediction."""
        columns = ("number", "time", "draws", "outputs")
        found = self._at.find(self._tables.predictions, list(y), *columns)
        groups: dict[tuple[int, int, int], list[str]] = {}
        for key, row in found.items():
            if row.outputs is not None:
                shape = row.draws, len(row.outputs), len(y[key])
                groups.setdefault(shape, []).append(key)
        scores: dict[str, Array] = {}
        for (draws, *_), ids in groups.items():
            outputs = [found[key].outputs for key in ids]
            scores |= self._score(ids, draws, outputs, y)
        return Matches(
            {key: row.number for key, row in found.items()},
            {
                key: max(0.0, self._time - row.time)
                for key, row in found.items()
            },
            scores,
        )

    def _score(
        self,
        ids: list[str],
        draws: int,
        outputs: list[bytes],
        y: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Scores rows whose outputs have one shape; by id."""
        model = self.setup.model
        assert model is not None
        labels = records.as_labels(np.stack([y[key] for key in ids]))
        likelihood = records.from_config(model.likelihood)
        counts = ~records.is_ignored(likelihood, labels, model.num_outputs)
        if not counts.any():
            return {}
        kept = records.joined(outputs, draws, model.num_outputs)
        found = records.score(likelihood, kept[:, counts], labels[counts])
        which = [key for key, do in zip(ids, counts, strict=True) if do]
        return dict(zip(which, found.rows(), strict=True))

    def _take(self, ids: list[str], found: "Matches") -> None:
        """Adds new scores to sums and tests, in their order."""
        if not ids:
            return
        assert self.setup.model is not None
        scored = Scored.of(np.stack([found.scores[key] for key in ids]))
        delay = np.array([found.delay[key] for key in ids])
        self.count(**sums.of_labels(self.setup.model.is_labels, scored, delay))
        if self._tests[1] is not None:
            self._tests[1].update(signals.values_of_labels(self.setup, scored))

    def _replace(self, scores: list[bytes | None], sign: int) -> None:
        """Adds scores to sums, or takes them back: tests can't."""
        rows = [np.frombuffer(row) for row in scores if row is not None]
        if rows:
            assert self.setup.model is not None
            parts = sums.of_labels(
                self.setup.model.is_labels,
                Scored.of(np.stack(rows)),
                np.zeros(len(rows)),
            )
            self.count(**{k: sign * np.asarray(v) for k, v in parts.items()})

    def _is_full(self, last: Any) -> bool:
        labels = sums.unpack(self.setup, last.sums)["labels"][0]
        return bool(
            max(last.predictions, labels) >= _BUCKET_ROWS
            or abs(self._time - last.first_time) >= _BUCKET_SECONDS
        )


class Matches(NamedTuple):
    """Predictions of labels, by id.

    Attributes:
        numbers: of the predictions, in the store.
        delay: how long their labels took, in seconds.
        scores: of those that can be scored, as `Scored.rows` has them.
    """

    numbers: dict[str, int]
    delay: dict[str, float]
    scores: dict[str, Array]

    def written(self, key: str) -> bytes | None:
        """Returns scores as they are written; None if there are none."""
        return self.scores[key].tobytes() if key in self.scores else None
