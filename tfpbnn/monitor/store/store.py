"""Reads and writes a store."""

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from tfpbnn.base.types import Array
from tfpbnn.monitor.store.engine import READING, alone, opened
from tfpbnn.monitor.store.tables import (
    buckets,
    heads,
    labels,
    predictions,
    setups,
)


class Bucket(NamedTuple):
    """Sums over a span of time.

    Attributes:
        first_time, last_time: the span, in seconds.
        predictions: how many predictions are in it.
        sums: the sums.
    """

    first_time: float
    last_time: float
    predictions: int
    sums: Array


class Store:
    """A database of what monitors have seen.

    Args:
        url: a URL of SQLAlchemy's, or the path of an SQLite file.

    Attributes:
        predictions, labels: tables, for `Transaction`.
    """

    predictions, labels = predictions, labels

    def __init__(self, url: str):
        self.url = url
        self._engine = opened(url)
        self._reader = self._engine.execution_options(**READING)

    def close(self) -> None:
        """Closes connections."""
        self._engine.dispose()

    def names(self) -> list[str]:
        """Lists the names of all monitors."""
        with self._reader.connect() as connection:
            found = connection.execute(sa.select(setups.c.name))
            return sorted(found.scalars())

    def setup(self, name: str) -> str | None:
        """Reads what a monitor was made with; None if there is none."""
        with self._reader.connect() as connection:
            return _setup(connection, name)

    def create(self, name: str, setup: str) -> str:
        """Makes a monitor, unless there is one; returns its setup."""
        with self._engine.begin() as connection:
            if connection.dialect.name != "sqlite":
                connection.execute(
                    sa.text("SELECT pg_advisory_xact_lock(741853)")
                )
            found = _setup(connection, name)
            if found is not None:
                return found
            last = connection.execute(
                sa.select(sa.func.max(setups.c.monitor))
            ).scalar()
            number = (last or 0) + 1
            connection.execute(
                setups.insert().values(monitor=number, name=name, setup=setup)
            )
            connection.execute(
                heads.insert().values(
                    monitor=number,
                    revision=0,
                    bucket=0,
                    last_time=0.0,
                    waiting=0,
                    alarms="[]",
                )
            )
        return setup

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator["Transaction"]:
        """Opens a transaction that holds the lock of a monitor.

        It is written, whole and for good, when the block ends without an error.
        """
        with self._engine.begin() as connection:
            transaction = Transaction(connection, name, is_locked=True)
            yield transaction
            transaction.save_head()

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator["Transaction"]:
        """Opens a transaction that sees one state of a monitor."""
        with self._reader.connect() as connection:
            yield Transaction(connection, name, is_locked=False)

    def vacuum(self) -> None:
        """Gives space of what was deleted back to the file system."""
        alone(self._engine, "VACUUM")


class Transaction:
    """One state of a monitor, or a change of it.

    Attributes:
        name, number: of the monitor.
        head: its counts and tests, a dict, which is written at the end.
    """

    def __init__(self, connection: sa.Connection, name: str, is_locked: bool):
        self._connection = connection
        self.name = name
        self.number = connection.execute(
            sa.select(setups.c.monitor).where(setups.c.name == name)
        ).scalar_one()
        query = sa.select(heads).where(heads.c.monitor == self.number)
        row = connection.execute(
            query.with_for_update() if is_locked else query
        ).one()
        self.head: dict[str, Any] = dict(row._mapping)
        self.head["alarms"] = json.loads(self.head["alarms"])

    def save_head(self) -> None:
        values = self.head | {"alarms": json.dumps(self.head["alarms"])}
        self._connection.execute(
            heads.update()
            .where(heads.c.monitor == self.number)
            .values(**values)
        )

    def setup(self) -> str:
        """Reads what the monitor was made with."""
        return str(
            self._connection.execute(
                sa.select(setups.c.setup).where(setups.c.monitor == self.number)
            ).scalar_one()
        )

    def save_setup(self, setup: str) -> None:
        """Writes it anew; others notice by the revision."""
        self._connection.execute(
            setups.update()
            .where(setups.c.monitor == self.number)
            .values(setup=setup)
        )
        self.head["revision"] += 1

    def find(
        self, table: sa.Table, ids: Sequence[str], *columns: str
    ) -> dict[str, Any]:
        """Finds the rows of a table by their ids; those that are there."""
        wanted = [table.c.id, *(table.c[name] for name in columns)]
        query = sa.select(*wanted).where(
            table.c.monitor == self.number, self._is_among(table.c.id, ids)
        )
        return {row.id: row for row in self._connection.execute(query)}

    def _is_among(self, column: Any, ids: Sequence[str]) -> Any:
        """Makes the condition that a text is one of many.

        As one parameter: many take longer to bind than to find, and databases
        have a limit of them.
        """
        if self._connection.dialect.name == "sqlite":
            each = sa.func.json_each(json.dumps(list(ids)))
            return column.in_(sa.select(each.table_valued("value").c.value))
        texts = sa.literal(list(ids), sa.ARRAY(sa.Text))
        return column == sa.any_(texts)

    def describe(self, key: str) -> dict[str, Any] | None:
        """Finds all that is known of an id; None if that is nothing."""
        columns = ("time", "epistemic", "aleatoric", "meta")
        row = self.find(predictions, [key], *columns).get(key)
        label = self.find(labels, [key], "time", "y", "scores").get(key)
        if row is None and label is None:
            return None
        found = {name: getattr(row, name, None) for name in columns}
        found["meta"] = found["meta"] and json.loads(found["meta"])
        found |= dict.fromkeys(("label_time", "y", "nll"))
        if label is not None:
            found["label_time"] = label.time
            found["y"] = np.frombuffer(label.y).tolist()
            if label.scores is not None:
                found["nll"] = float(np.frombuffer(label.scores)[0])
        return found

    def count(self, table: sa.Table) -> int:
        """Counts the rows of a table, one by one."""
        query = sa.select(sa.func.count()).where(table.c.monitor == self.number)
        return int(self._connection.execute(query).scalar_one())

    def insert(
        self, table: sa.Table, names: tuple[str, ...], rows: list[Any]
    ) -> None:
        """Adds rows to a table.

        Args:
            table: the table.
            names: of columns, in the order of the table.
            rows: their values, in this order.
        """
        if not rows:
            return
        # Values are what drivers take, so that SQLAlchemy has none to convert.
        statement, is_named = _insertion(
            table, names, self.number, self._connection.dialect
        )
        if is_named:
            rows = [dict(zip(names, row, strict=True)) for row in rows]
        self._connection.exec_driver_sql(statement, rows)

    def update_labels(self, rows: list[dict[str, Any]]) -> None:
        """Changes labels, found by the key `of`, their id."""
        if rows:
            self._connection.execute(
                labels.update()
                .where(
                    labels.c.monitor == self.number,
                    labels.c.id == sa.bindparam("of"),
                )
                .values(
                    {name: sa.bindparam(f"new_{name}") for name in rows[0]}
                ),
                [
                    {
                        "of": row["id"],
                        **{f"new_{name}": v for name, v in row.items()},
                    }
                    for row in rows
                ],
            )

    def add_sums(
        self, sums: Array, time: float, predictions: int, is_new: bool
    ) -> None:
        """Adds to the sums of the last bucket, or begins a new one."""
        key = {"monitor": self.number, "number": self.head["bucket"]}
        where = [buckets.c[name] == value for name, value in key.items()]
        row = None
        if not is_new:
            row = self._connection.execute(
                sa.select(buckets).where(*where)
            ).one_or_none()
        if row is None:
            self.head["bucket"] += 1
            self._connection.execute(
                buckets.insert().values(
                    monitor=self.number,
                    number=self.head["bucket"],
                    first_time=time,
                    last_time=time,
                    predictions=predictions,
                    sums=sums.tobytes(),
                )
            )
            return
        self._connection.execute(
            buckets.update()
            .where(*where)
            .values(
                first_time=min(time, row.first_time),
                last_time=max(time, row.last_time),
                predictions=row.predictions + predictions,
                sums=(np.frombuffer(row.sums) + sums).tobytes(),
            )
        )

    def buckets(
        self, since: float = -np.inf, limit: int | None = None
    ) -> Iterator[Bucket]:
        """Reads the buckets that end after a time, the newest first."""
        query = (
            sa.select(buckets)
            .where(
                buckets.c.monitor == self.number,
                buckets.c.last_time >= max(since, -1e300),
            )
            .order_by(buckets.c.number.desc())
            .limit(limit)
            .execution_options(yield_per=500)
        )
        with self._connection.execute(query) as rows:
            for row in rows:
                yield Bucket(
                    row.first_time,
                    row.last_time,
                    row.predictions,
                    np.frombuffer(row.sums),
                )

    def scored(self, limit: int) -> list[Any]:
        """Reads the last predictions with labels, the newest label first."""
        query = (
            sa.select(predictions, labels.c.y)
            .join(labels, labels.c.prediction == predictions.c.number)
            .where(
                labels.c.monitor == self.number,
                labels.c.scores.is_not(None),
                predictions.c.outputs.is_not(None),
            )
            .order_by(labels.c.number.desc())
            .limit(limit)
        )
        return list(self._connection.execute(query))

    def delete_before(self, time: float) -> int:
        """Deletes predictions, with their labels, and labels that waited."""
        old = sa.select(predictions.c.number).where(
            predictions.c.monitor == self.number, predictions.c.time < time
        )
        waiting = sa.and_(labels.c.prediction.is_(None), labels.c.time < time)
        gone = self._connection.execute(
            labels.delete().where(labels.c.monitor == self.number, waiting)
        )
        self.head["waiting"] -= gone.rowcount
        self._connection.execute(
            labels.delete().where(labels.c.prediction.in_(old))
        )
        return self._connection.execute(
            predictions.delete().where(
                predictions.c.monitor == self.number, predictions.c.time < time
            )
        ).rowcount

    def forget_outputs(self, time: float) -> int:
        """Deletes the outputs of predictions that were scored before a time."""
        done = sa.select(labels.c.prediction).where(
            labels.c.monitor == self.number,
            labels.c.scores.is_not(None),
            labels.c.time < time,
        )
        return self._connection.execute(
            predictions.update()
            .where(
                predictions.c.number.in_(done),
                predictions.c.outputs.is_not(None),
            )
            .values(outputs=None)
        ).rowcount


def _setup(connection: sa.Connection, name: str) -> str | None:
    query = sa.select(setups.c.setup).where(setups.c.name == name)
    found: str | None = connection.execute(query).scalar()
    return found


@functools.lru_cache
def _insertion(
    table: sa.Table, names: tuple[str, ...], monitor: int, dialect: Any
) -> tuple[str, bool]:
    """Writes an insertion in SQL; says whether its parameters have names."""
    values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    values["monitor"] = sa.literal_column(str(monitor))
    compiled = table.insert().values(values).compile(dialect=dialect)
    order = compiled.positiontup
    assert order is None or tuple(order) == names, "as the table has them"
    return str(compiled), order is None
