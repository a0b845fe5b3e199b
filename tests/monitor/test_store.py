"""Stores: what is acknowledged stays, whoever dies and whoever else writes."""

import contextlib
import sqlite3
import threading
import time

import numpy as np
import pytest

from tests import fresh
from tests.monitor import cases, postgres
from tests.monitor.cases import N
from tfpbnn.monitor import UncertaintyMonitor

IDS = [f"row-{i}" for i in range(N)]
_KILLS = """
import sys
from tests.monitor import kills
kills.main(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def server():
    missing = postgres.missing()
    if missing:
        pytest.skip(missing)
    running = postgres.Server()
    yield running
    running.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "m.db")
    return request.getfixturevalue("server").url


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_what_is_acknowledged_outlives_kills(kills, tmp_path):
    """Four writers are killed at any moment; again and again."""
    path = tmp_path / "m.db"
    fresh.run(_KILLS, str(path), str(kills))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == (
            "ok",
        )
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_kills_of_writers_to_postgresql(server):
    fresh.run(_KILLS, server.url, "2")


def test_writers_at_once_lose_and_double_nothing(url):
    """Threads with monitors of their own, of which two write the same rows."""
    p, name = cases.numbers(), "at once"
    y = cases.drawn(p)
    UncertaintyMonitor(url, name=name).close()

    def work(worker):
        with UncertaintyMonitor.open(url, name) as monitor:
            for part in np.array_split(np.arange(N), 6):
                ids = [f"{worker % 3}-{i}" for i in part]
                monitor.log(ids, p[part])
                monitor.observe(ids, y[part])

    threads = [threading.Thread(target=work, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with UncertaintyMonitor.open(url, name) as monitor:
        status = monitor.status()
    assert status.counts["predictions"] == status.counts["labels"] == 3 * N
    assert status.counts["duplicate"] == N
    assert status.counts["repeated"] == N
    assert status.scores["nll"] == pytest.approx(p.nll(y), rel=1e-5)


def test_all_that_a_monitor_does(url, clock):
    """On each database: out of order, again, changed, compacted, reported."""
    p = cases.labels()
    y = cases.drawn(p)
    with UncertaintyMonitor(
        url, p, reference_y=y, name="all", clock=clock
    ) as monitor:
        monitor.observe(IDS[:9], y[:9])
        monitor.log(IDS, p, meta={"v": 1})
        clock.now += 86400 * 10
        monitor.log(["new"], p[:1])
        monitor.observe(IDS[5:], (y[5:] + 1) % 3)
        monitor.observe([*IDS, "new"], [*y, y[0]])
        before = monitor.status("30d")
        assert before.scores["accuracy"] == pytest.approx(
            (p.accuracy(y) * N + (p.labels[0] == y[0])) / (N + 1)
        )
        assert len(monitor._writer._store.names()) >= 1
        found = monitor.compact(keep="20d", keep_outputs="1s")
        assert found == {"predictions": 0, "outputs": 9}
        clock.now += 60
        found = monitor.compact(keep="5d", keep_outputs="1s", vacuum=True)
        assert found == {"predictions": N, "outputs": 1}
        assert monitor.find(IDS[3]) is None
        assert monitor.find("new")["nll"] is not None
        after = monitor.status("30d")
        assert after.scores == before.scores  # sums stay
        assert monitor.observe(["new"], [(y[0] + 1) % 3]).changed == 1


def test_a_store_of_a_newer_version_is_refused_and_untouched(tmp_path):
    path = tmp_path / "m.db"
    UncertaintyMonitor(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tfpbnn_monitor SET version = 99")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="newer tfpbnn wrote version 99"):
        UncertaintyMonitor(path)
    assert path.read_bytes() == before


def test_a_disk_that_fails_loses_rows_and_counts_them(make, tmp_path):
    """Predictions go on, and what was lost is said, there and later."""
    p = cases.numbers()
    make().log(IDS[:10], p[:10])
    url = f"sqlite:///file:{tmp_path / 'm.db'}?mode=ro&uri=true"
    monitor = make(store=url)
    with pytest.warns(UserWarning, match="rows are lost"):
        assert monitor.log(IDS[10:50], p[10:50]).lost == 40
    with pytest.warns(UserWarning, match="rows are lost"):
        assert monitor.observe(IDS[:5], np.zeros(5)).lost == 5
    status = monitor.status()
    assert (status.counts["lost"], status.counts["lost_labels"]) == (40, 5)
    assert "40 predictions could not be written" in repr(status)
    # The disk is mended: the loss is in the store, once.
    monitor._writer._store = make()._writer._store
    monitor.log(IDS[50:], p[50:])
    monitor.log(IDS[50:], p[50:])
    counts = make().status().counts
    assert (counts["lost"], counts["predictions"]) == (40, N - 40)


def test_a_store_that_can_not_be_opened(tmp_path):
    path = tmp_path / "no" / "folder" / "m.db"
    with pytest.raises(OSError, match="can't be opened"):
        UncertaintyMonitor(path)
    file = tmp_path / "text.db"
    file.write_text("This is no database, whatever its name." * 100)
    with pytest.raises(OSError, match="can't be opened"):
        UncertaintyMonitor(file)


@pytest.mark.slow
def test_status_of_ten_million_predictions_is_fast(make):
    """Under 2 seconds, whatever the window."""
    p, rows = cases.numbers(rows=10_000), 10_000_000
    p = cases.without_draws(p)
    monitor = make(p)
    for start in range(0, rows, len(p)):
        monitor.log(range(start, start + len(p)), p)
    for window in ("7d", rows, 1000):
        started = time.perf_counter()
        status = monitor.status(window)
        assert time.perf_counter() - started < 2
        assert status.counts["predictions"] >= min(rows, 1000)
