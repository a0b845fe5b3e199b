"""A monitor's `log`, against bare inserts of the same rows by `sqlite3`.

Batches of 1,000 predictions with a reference, so that drift is tested too: of
numbers with 100 draws that are kept, of numbers without, and of 10 classes.
Each batch is one transaction that is on the disk at the end. Rounds are
interleaved; ratios are of one round. Then the time of `status`, of all of them.

    PYTHONPATH=. python benchmarks/monitoring.py
"""

import argparse
import pathlib
import sqlite3
import tempfile
import time

import numpy as np

from tfpbnn import likelihoods
from tfpbnn.monitor import UncertaintyMonitor
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    RegressionPredictive,
)

ROWS = 1000


def predictions():
    """By case; what users ask of them, averages, was computed before."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(100, ROWS, 2)).astype("float32")
    numbers = RegressionPredictive(outputs, likelihoods.Normal())
    logits = rng.normal(size=(30, ROWS, 10)).astype("float32")
    labels = ClassificationPredictive(logits, likelihoods.Categorical())
    found = {
        "numbers, 100 draws": numbers,
        "numbers, no draws": RegressionPredictive.without_draws(
            100, numbers.summaries, likelihoods.Normal(), "marginal"
        ),
        "10 classes": labels,
    }
    for p in found.values():
        assert p.summaries is not None
        assert p.mean is not None
    return found


class Bare:
    """Rows as a monitor has them, and nothing else."""

    def __init__(self, path, size):
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE p (number INTEGER PRIMARY KEY, id TEXT UNIQUE, "
            "time REAL, epistemic REAL, aleatoric REAL, outputs BLOB)"
        )
        self._blob = bytes(size)

    def log(self, ids):
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO p (id, time, epistemic, aleatoric, outputs) "
            "VALUES (?, 1.0, 0.1, 0.2, ?)",
            [(each, self._blob) for each in ids],
        )
        self._connection.execute("COMMIT")


def milliseconds(function, *arguments):
    started = time.perf_counter()
    function(*arguments)
    return 1e3 * (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    print(f"{'':20}{'log, ms':>10}{'bare, ms':>10}{'ratio':>8}{'status':>10}")
    for name, p in predictions().items():
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            monitor = UncertaintyMonitor(path / "m.db", p)
            size = {"numbers, 100 draws": 800, "10 classes": 40}.get(name, 16)
            bare = Bare(path / "bare.db", size)
            times = []
            for i in range(rounds):
                ids = [f"{i}-{row}" for row in range(ROWS)]
                times.append(
                    (
                        milliseconds(monitor.log, ids, p),
                        milliseconds(bare.log, ids),
                    )
                )
            status = milliseconds(monitor.status)
            monitor.close()
        ours, theirs = np.median(times[3:], axis=0)
        ratio = np.median([a / b for a, b in times[3:]])
        print(
            f"{name:20}{ours:10.1f}{theirs:10.1f}{ratio:8.1f}{status:8.1f} ms"
        )


if __name__ == "__main__":
    main()
