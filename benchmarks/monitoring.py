"""A monitor's `log`, against bare inserts of the same rows by `sqlite3`.

Batches of 1,000 predictions with a reference, so that drift is tested too: of
numbers with 100 draws that are kept, of numbers without, and of 10 classes at
100 draws; then with 20 inputs, which are tested as well. Each batch is one
transaction that is on the disk at the end. Rounds are interleaved, and medians
of processor time in milliseconds, which waits for no disk:

- "averages" are those over draws, which a prediction computes once, for whoever
  asks first: the monitor, if nobody did before;
- "log" does all else: rows, sums, and tests, which may raise an alarm;
- "bare" are the inserts alone;
- "status" adds up the sums of all rounds, and "wall" is the time of `log`.

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


INPUTS = 20


def prediction(kind, seed):
    """The next batch of a case, and its inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, INPUTS)) if "inputs" in kind else None
    if "classes" in kind:
        outputs = rng.normal(size=(100, ROWS, 10)).astype("float32")
        return ClassificationPredictive(outputs, likelihoods.Categorical()), x
    outputs = rng.normal(size=(100, ROWS, 2)).astype("float32")
    p = RegressionPredictive(outputs, likelihoods.Normal())
    if "no draws" in kind:
        p = RegressionPredictive.without_draws(
            100, p.summaries, likelihoods.Normal(), "marginal"
        )
    return p, x


# The bytes that are kept of a row, by case.
CASES = {
    "numbers, 100 draws": 800,
    "numbers, no draws": 8,
    "10 classes": 40,
    "numbers, inputs": 800,
    "10 classes, inputs": 40,
}


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


def milliseconds(function, *arguments, clock=time.process_time, **options):
    started = clock()
    function(*arguments, **options)
    return 1e3 * (clock() - started)


def measured(kind, size, rounds):
    with tempfile.TemporaryDirectory() as folder:
        path, times = pathlib.Path(folder), []
        p, x = prediction(kind, 0)
        monitor = UncertaintyMonitor(path / "m.db", p, reference_inputs=x)
        bare = Bare(path / "bare.db", size)
        for i in range(rounds):
            ids = [f"{i}-{row}" for row in range(ROWS)]
            p, x = prediction(kind, i + 1)
            started = time.perf_counter()
            times.append(
                (
                    milliseconds(lambda p=p: (p.summaries, p.mean)),
                    milliseconds(monitor.log, ids, p, inputs=x),
                    1e3 * (time.perf_counter() - started),
                    milliseconds(bare.log, ids),
                )
            )
        averages, log, wall, bare = np.median(times[3:], axis=0)
        status = milliseconds(monitor.status)
        monitor.close()
    return averages, log, bare, log / bare, status, wall


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    names = ["averages", "log", "bare", "ratio", "status", "wall"]
    print(" " * 20 + "".join(f"{name:>10}" for name in names))
    for kind, size in CASES.items():
        found = measured(kind, size, rounds)
        print(f"{kind:20}" + "".join(f"{value:10.1f}" for value in found))


if __name__ == "__main__":
    main()
