"""Writes to a store, and counts what can't be written."""

import contextlib
import pathlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tfpbnn.base.types import Array
from tfpbnn.monitor import arguments
from tfpbnn.monitor.ledger import Alarm, Ledger, Logged, Observed, Rows
from tfpbnn.monitor.setup import Setup

T = TypeVar("T")


class Writer:
    """The way of one process into a store.

    Args:
        url: of the store.
        name: of the monitor in it.
        made: what it is made with, unless there is one.
        clock: returns the time.
        buffer: how many rows may wait in memory.
        on_alarm: is called with new alarms; or None.

    Attributes:
        setup: of the monitor, as far as it is known.
        lost: how many rows, and labels, could not be written, and are not
            counted in the store yet, by event.
    """

    def __init__(
        self,
        url: str,
        name: str,
        made: Setup,
        clock: Callable[[], float],
        buffer: int,
        on_alarm: Callable[[Alarm], Any] | None,
    ):
        self._store, self._failures = _opened(url)
        self._name, self._clock, self._buffer = name, clock, buffer
        self._on_alarm = on_alarm
        self.setup = Setup.loads(self._store.create(name, made.dumps()))
        self._revision = -1
        self._lock = threading.RLock()
        self._pending: list[Rows] = []
        self.lost = {"lost": 0, "lost_labels": 0}

    def log(self, rows: Rows) -> Logged:
        """Writes predictions, or holds them until there are enough."""
        with self._lock:
            for each in self._pending[:1]:
                rows.model.check_same(each.model)
            self._pending.append(rows)
            pending = sum(len(each.ids) for each in self._pending)
            if pending < self._buffer:
                return Logged(pending=pending)
            return self.flush()

    def flush(self) -> Logged:
        """Writes what is held."""
        with self._lock:
            rows, self._pending = self._pending, []
            if not rows:
                return Logged()
            found = self._write(
                lambda ledger: [ledger.log(each) for each in rows]
            )
            if found is None:
                count = sum(len(each.ids) for each in rows)
                self.lost["lost"] += count
                return Logged(lost=count)
            return Logged(*map(sum, zip(*found, strict=True)))

    def observe(self, names: list[str], y: Array) -> Observed:
        """Writes labels, `[n, m]`."""
        with self._lock:
            self.flush()
            found = self._write(
                lambda ledger: [
                    ledger.observe([names[i] for i in each], y[each])
                    for each in arguments.rounds(names)
                ]
            )
            if found is None:
                self.lost["lost_labels"] += len(names)
                return Observed(lost=len(names))
            totals = zip(Observed(), *found, strict=True)
            return Observed(*map(sum, totals))

    def restart(self) -> None:
        """Forgets alarms, and begins tests anew."""
        with self._lock, self._store.writing(self._name) as transaction:
            transaction.head |= {"tests": None, "alarms": []}

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """Opens a transaction of the store, to read one state of it."""
        with self._store.reading(self._name) as transaction:
            self._refresh(transaction)
            yield transaction

    def delete(self, *times: float) -> tuple[int, int]:
        """Deletes predictions, and outputs of others, from before times."""
        with self._store.writing(self._name) as transaction:
            rows = transaction.delete_before(times[0])
            return rows, transaction.forget_outputs(times[1])

    def vacuum(self) -> None:
        """Makes the file smaller."""
        self._store.vacuum()

    def close(self) -> None:
        """Writes what is held, and closes the store."""
        self.flush()
        self._store.close()

    def _write(self, function: Callable[[Ledger], T]) -> T | None:
        """Calls a function of a ledger; None if it can't be written."""
        try:
            with self._store.writing(self._name) as transaction:
                self._refresh(transaction)
                ledger = Ledger(
                    transaction, self._store, self.setup, self._clock()
                )
                result = function(ledger)
                ledger.count(**self.lost)
                alarms = ledger.close()
        except self._failures as error:
            warnings.warn(
                f"The monitor's store can't be written, so rows are lost, and "
                f"counted: {error}",
                stacklevel=4,
            )
            return None
        self.lost = dict.fromkeys(self.lost, 0)
        self._raise(alarms)
        return result

    def _raise(self, alarms: list[Alarm]) -> None:
        """Calls back; errors are warned of, since all is written by then."""
        if self._on_alarm is None:
            return
        for alarm in alarms:
            try:
                self._on_alarm(alarm)
            except Exception as error:
                warnings.warn(
                    f"`on_alarm` has failed for {alarm}: {error!r}",
                    stacklevel=5,
                )

    def _refresh(self, transaction: Any) -> None:
        """Reads the setup again, if someone has changed it."""
        revision = transaction.head["revision"]
        if revision != self._revision:
            self.setup = Setup.loads(transaction.setup())
            self._revision = revision


def _opened(url: str) -> tuple[Any, Any]:
    """Opens a store; returns it, and the errors of those that don't work.

    Raises:
        ImportError: if what it needs is not installed.
        OSError: if it can't be opened.
        ValueError: if a newer version wrote to it, or `url` is none.
    """
    try:
        import sqlalchemy

        from tfpbnn.monitor.store import Store
    except ImportError as error:
        raise ImportError(
            "tfpbnn.monitor needs SQLAlchemy: pip install tfpbnn[monitor]"
        ) from error
    errors = sqlalchemy.exc
    try:
        return Store(url), (errors.OperationalError, errors.InternalError)
    except errors.DBAPIError as error:
        raise OSError(
            f"The monitor's store can't be opened: {error}"
        ) from error


def check_exists(url: str, name: str) -> None:
    """Raises a `LookupError` if there is no such store, or monitor in it."""
    path = pathlib.Path(url.removeprefix("sqlite:///")).expanduser()
    if (
        "://" not in url.removeprefix("sqlite:///")
        and "?" not in str(path)
        and not path.exists()
    ):
        raise LookupError(
            f"`store` must be one that a monitor writes to. Received: {url!r}, "
            "where there is no file"
        )
    store, _ = _opened(url)
    names = store.names()
    store.close()
    if name not in names:
        raise LookupError(
            f"`name` must be that of a monitor in the store, {names}. "
            f"Received: name={name!r}"
        )
