"""Opens a database, and checks that this version may write to it."""

import pathlib
from typing import Any

import sqlalchemy as sa

from tfpbnn.monitor.store import tables

_SECONDS = 60
READING = {"tfpbnn_reads": True}


def opened(url: str) -> sa.Engine:
    """Opens a database, and makes the tables that are missing.

    Args:
        url: a URL of SQLAlchemy's, or the path of an SQLite file.

    Raises:
        ValueError: if the URL can't be read, or a newer version wrote to the
            database.
        ImportError: if the driver of the database is missing.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        _listen(engine)
    with engine.connect().execution_options(**READING) as connection:
        found = _version(connection)
    if found is None:
        _create(engine)
    elif found > tables.VERSION:
        engine.dispose()
        raise ValueError(
            f"`store` must be of version {tables.VERSION} or older. Received: "
            f"{engine.url}, to which a newer tfpbnn wrote version {found}; "
            "nothing was changed. Upgrade tfpbnn, or take another store"
        )
    return engine


def _engine(url: str) -> sa.Engine:
    if "://" not in url:
        url = f"sqlite:///{pathlib.Path(url).expanduser()}"
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        engine = sa.create_engine(url, pool_pre_ping="postgresql" in url)
        name = engine.dialect.name
    except sa.exc.ArgumentError:
        name = ""
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The store needs the driver {error.name}: pip install {error.name}"
        ) from error
    if name not in ("sqlite", "postgresql"):
        scheme = url.partition("://")[0]  # the rest may hold a password
        raise ValueError(
            "`store` must be the path of an SQLite file, or a URL such as "
            f"postgresql://user@host/name. Received: one of {scheme!r}"
        )
    return engine


def _listen(engine: sa.Engine) -> None:
    """Makes transactions of SQLite last, and begin with the lock."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        # Python's own transactions would begin too late for the lock.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_SECONDS * 1000}")
        # What is committed is on the disk, if the machine fails too.
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("tfpbnn_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def alone(engine: sa.Engine, statement: str) -> None:
    """Does what can't be done in a transaction."""
    connection: Any = engine.raw_connection()
    try:
        if engine.dialect.name != "sqlite":  # whose connections begin none
            connection.driver_connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.invalidate()
        connection.close()


def _version(connection: sa.Connection) -> int | None:
    """Returns the version of a store; None if there are no tables yet."""
    if not sa.inspect(connection).has_table(tables.versions.name):
        return None
    found: int | None = connection.execute(
        sa.select(sa.func.max(tables.versions.c.version))
    ).scalar()
    return found


def _create(engine: sa.Engine) -> None:
    is_sqlite = engine.dialect.name == "sqlite"
    if is_sqlite:
        # Readers don't wait for writers then. It can't be set in a transaction.
        alone(engine, "PRAGMA journal_mode=WAL")
    with engine.begin() as connection:
        if not is_sqlite:  # two that make tables at once would collide
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(741852)"))
        tables.create_all(connection)
        if _version(connection) is None:
            connection.execute(
                sa.insert(tables.versions).values(version=tables.VERSION)
            )
