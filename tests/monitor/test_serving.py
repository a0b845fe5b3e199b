"""Metrics for Prometheus, the dashboard of them, and commands."""

import json
import pathlib
import re
import urllib.request

import pytest

import tfpbnn
from tests.monitor import cases
from tests.monitor.cases import N
from tests.monitor.conftest import needs_prometheus
from tfpbnn.cli import main
from tfpbnn.monitor import UncertaintyMonitor

IDS = range(N)
DASHBOARD = (
    pathlib.Path(tfpbnn.__file__).parents[1] / "docs/monitoring_dashboard.json"
)


@pytest.fixture
def monitor(make):
    """With labels, and an alarm."""
    p = cases.numbers(rows=2000)
    y = cases.drawn(p)
    found = make(p, reference_y=y)
    found.log(range(2000), p)
    found.observe(range(2000), y + 3)
    assert not found.status().is_well
    return found


def fetched(port):
    address = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read().decode()


@needs_prometheus
def test_metrics_are_the_numbers_of_the_status(monitor):
    server = monitor.serve_metrics(port=0)
    try:
        text = fetched(server.port)
        status = monitor.status()
        wanted = {
            "alarms": len(status.alarms),
            "predictions": 2000,
            "labels": 2000,
            "score_nll": status.scores["nll"],
            "score_coverage_90_reference": status.reference["coverage_90"],
            "uncertainty_epistemic": status.uncertainties["epistemic"],
        }
        for name, value in wanted.items():
            line = f'tfpbnn_{name}{{monitor="default"}} '
            (found,) = re.findall(re.escape(line) + r"(\S+)", text)
            assert float(found) == pytest.approx(value), name
        assert 'signal="coverage mean"' in text
        monitor.log(["another"], cases.numbers()[:1])
        assert 'predictions{monitor="default"} 2001.0' in fetched(server.port)
    finally:
        server.close()
    with pytest.raises(OSError, match="refused"):
        fetched(server.port)


@needs_prometheus
def test_it_listens_on_this_machine_alone(monitor):
    server = monitor.serve_metrics(port=0)
    try:
        assert server._server.server_address[0] == "127.0.0.1"
    finally:
        server.close()


def test_the_dashboard_asks_for_metrics_that_there_are(make):
    """Of numbers, and of labels."""
    text = DASHBOARD.read_text()
    asked = set(re.findall(r"tfpbnn_\w+", text))
    there = {"tfpbnn_alarm_time_seconds"}
    for name, p in (("n", cases.numbers()), ("l", cases.labels())):
        y = cases.drawn(p)
        one = make(p, reference_y=y, name=name)
        one.log(IDS, p)
        one.observe(IDS, y)
        there |= one.metrics().keys()
    assert asked
    assert asked <= there, asked - there
    panels = json.loads(text)["panels"]
    places = [tuple(panel["gridPos"].items()) for panel in panels]
    assert len(set(places)) == len(panels) > 3


def test_commands(monitor, tmp_path, capsys):
    store = str(tmp_path / "m.db")
    page = tmp_path / "page.html"
    options = ["--store", store, "--window", "20000"]
    assert main(["monitor", "status", *options]) == 0
    said = capsys.readouterr().out
    assert "Something has changed" in said
    assert "2,000 predictions; 2,000 labels" in said
    assert main(["monitor", "report", *options, "--output", str(page)]) == 0
    assert "Something has changed" in page.read_text()
    capsys.readouterr()
    assert main(["monitor", "compact", *options, "--keep", "1s"]) == 0
    assert "Deleted 2,000 predictions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "other"], "`name` must be"),
        (["--window", "soon"], "`window` must be"),
        (["--store", "nothing.db"], "there is no file"),
    ],
    ids=["name", "window", "store"],
)
def test_commands_say_what_is_wrong(arguments, words, tmp_path, capsys):
    store = str(tmp_path / "m.db")
    UncertaintyMonitor(store).close()
    assert main(["monitor", "status", "--store", store, *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not pathlib.Path("nothing.db").exists()
