"""Defines the tables of a store."""

import sqlalchemy as sa

# Stores of a higher version are refused, and left as they are.
VERSION = 1
_metadata = sa.MetaData()
create_all = _metadata.create_all
# SQLite counts rows up in columns of this type alone.
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _monitor() -> sa.Column[int]:
    return sa.Column("monitor", sa.Integer, primary_key=True)


versions = sa.Table(
    "tfpbnn_monitor", _metadata, sa.Column("version", sa.Integer)
)
# What a monitor was made with.
setups = sa.Table(
    "setups",
    _metadata,
    sa.Column("monitor", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, unique=True, nullable=False),
    sa.Column("setup", sa.Text, nullable=False),
)
# What each write changes of it. Whoever writes locks this row first.
heads = sa.Table(
    "heads",
    _metadata,
    _monitor(),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("bucket", _Number, nullable=False),
    sa.Column("last_time", sa.Double, nullable=False),
    sa.Column("waiting", _Number, nullable=False),
    sa.Column("tests", sa.LargeBinary),
    sa.Column("alarms", sa.Text, nullable=False),
)
predictions = sa.Table(
    "predictions",
    _metadata,
    sa.Column("number", _Number, primary_key=True, autoincrement=True),
    sa.Column("monitor", sa.Integer, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("epistemic", sa.Double),
    sa.Column("aleatoric", sa.Double),
    sa.Column("meta", sa.Text),
    # The number S of draws, and the outputs [S, P] as bytes; None if not all
    # are numbers, or if a label was scored and they were compacted away.
    sa.Column("draws", sa.Integer, nullable=False),
    sa.Column("outputs", sa.LargeBinary),
    sa.UniqueConstraint("monitor", "id"),
)
# Of predictions, `scores` is None where they can't be scored; of ids that no
# prediction has yet, `prediction` is None.
labels = sa.Table(
    "labels",
    _metadata,
    sa.Column("number", _Number, primary_key=True, autoincrement=True),
    sa.Column("monitor", sa.Integer, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("prediction", _Number),
    sa.Column("y", sa.LargeBinary, nullable=False),
    sa.Column("scores", sa.LargeBinary),
    sa.UniqueConstraint("monitor", "id"),
)
# Sums over the rows of a span of time; see `monitor/sums.py`.
buckets = sa.Table(
    "buckets",
    _metadata,
    _monitor(),
    sa.Column("number", _Number, primary_key=True),
    sa.Column("first_time", sa.Double, nullable=False),
    sa.Column("last_time", sa.Double, nullable=False),
    sa.Column("predictions", _Number, nullable=False),
    sa.Column("sums", sa.LargeBinary, nullable=False),
)
