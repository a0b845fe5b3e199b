import importlib.util

import pytest

from tfpbnn.monitor import UncertaintyMonitor


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    """Makes monitors in one SQLite file, which are closed at the end."""
    made = []

    def run(*args, store=tmp_path / "m.db", **options):
        options = {"clock": clock} | options
        made.append(UncertaintyMonitor(store, *args, **options))
        return made[-1]

    yield run
    for monitor in made:
        monitor.close()


needs_prometheus = pytest.mark.skipif(
    importlib.util.find_spec("prometheus_client") is None,
    reason="needs prometheus_client: tfpbnn[monitor]",
)
