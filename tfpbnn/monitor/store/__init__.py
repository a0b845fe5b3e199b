"""Keeps what a monitor has seen in a database, by SQLAlchemy.

`tables` are the tables, `engine` opens a database and checks its version, and
`store` reads and writes: each write is one transaction that holds the lock of
its monitor. It is imported where a store is opened, since SQLAlchemy is an
extra. To add a column: in `tables`, with a new `VERSION`.
"""

from tfpbnn.monitor.store.store import Store, Transaction

__all__ = ["Store", "Transaction"]
