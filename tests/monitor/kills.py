"""Writers that are killed at any moment, and what the store has afterwards.

It is run in a process that has not used TensorFlow, since it forks.
"""

import os
import random
import select
import signal
import time

import numpy as np

from tfpbnn import likelihoods
from tfpbnn.monitor import UncertaintyMonitor, sums
from tfpbnn.prediction.results import RegressionPredictive

WRITERS, ROWS = 4, 20
_OUTPUTS = np.random.default_rng(0).normal(size=(2, ROWS, 2)).astype("float32")


def prediction():
    p = RegressionPredictive(_OUTPUTS, likelihoods.Normal())
    # As they would be, without TensorFlow, whose threads a fork has not.
    p.summaries = tuple(np.full((ROWS, 1), value) for value in (0.0, 0.1, 1.0))
    return p


def ids_of(worker, batch):
    return [f"{worker}-{batch}-{row}" for row in range(ROWS)]


def write(url, worker, acknowledge):
    """Logs predictions, and labels of others, until it is killed.

    Args:
        url: of the store.
        worker: a name of its own.
        acknowledge: a pipe to which it writes what is in the store for good.
    """
    p, batch = prediction(), 0
    logs = UncertaintyMonitor.open(url, "logs")
    labels = UncertaintyMonitor.open(url, "labels")
    while True:
        ids = ids_of(worker, batch)
        assert logs.log(ids, p).written == ROWS
        os.write(acknowledge, f"logs {worker} {batch}\n".encode())
        assert labels.observe(ids, np.arange(ROWS)).waiting == ROWS
        os.write(acknowledge, f"labels {worker} {batch}\n".encode())
        batch += 1
        time.sleep(0.001)  # for others to come to write


def start(url, worker, ends):
    child = os.fork()
    if not child:
        os.close(ends[0])
        try:
            write(url, worker, ends[1])
        finally:
            os._exit(1)
    return child


def killed(url, kill):
    """Starts writers, kills them, and returns what they had acknowledged."""
    ends = os.pipe()
    children = [start(url, f"{kill}.{i}", ends) for i in range(WRITERS)]
    os.close(ends[1])
    said, wanted = b"", random.randint(6, 30)
    while said.count(b"\n") < wanted:
        ready, _, _ = select.select([ends[0]], [], [], 60)
        assert ready, "writers have stopped to write"
        said += os.read(ends[0], 4096)
    time.sleep(random.uniform(0, 0.02))
    for child in children:
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "a writer has failed"
    with os.fdopen(ends[0], "rb") as pipe:
        said += pipe.read()
    return [line.split() for line in said.decode().splitlines()]


def check(url, acknowledged, kills):
    """All that was acknowledged is there, whole batches, and summed once."""
    for name, part in (("logs", "rows"), ("labels", "unknown")):
        batches = [rest for kind, *rest in acknowledged if kind == name]
        monitor = UncertaintyMonitor.open(url, name)
        store = monitor._writer._store
        table = store.predictions if name == "logs" else store.labels
        with store.reading(name) as transaction:
            wanted = [i for batch in batches for i in ids_of(*batch)]
            assert len(transaction.find(table, wanted)) == len(wanted)
            total = sum(bucket.sums for bucket in transaction.buckets())
            rows = transaction.count(table)
        summed = sums.unpack(monitor._writer.setup, total)[part][0]
        monitor.close()
        assert rows == summed, (rows, summed)
        assert rows % ROWS == 0
        # Of each writer one batch at most was written, and not acknowledged.
        assert 0 <= rows - len(wanted) <= ROWS * WRITERS * kills


def main(url, kills):
    random.seed(0)
    for name in ("logs", "labels"):
        UncertaintyMonitor(url, name=name).close()
    acknowledged = []
    for kill in range(int(kills)):
        acknowledged += killed(url, kill)
    workers = {worker for _, worker, _ in acknowledged}
    assert len(workers) > int(kills), "one writer alone has written"
    check(url, acknowledged, int(kills))
