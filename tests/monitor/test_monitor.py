"""What a monitor says, of good streams and bad, and what it refuses."""

import datetime
import html.parser
import uuid

import numpy as np
import pytest

from tests.monitor import cases
from tests.monitor.cases import N
from tfpbnn import likelihoods
from tfpbnn.monitor import UncertaintyMonitor
from tfpbnn.prediction.results import RegressionPredictive

IDS = [f"row-{i}" for i in range(N)]
ROWS = 3000


def features(seed, rows, shift=0.0):
    x = cases.rng(seed).normal(size=(rows, 3))
    x[:, 1] += shift
    return x


@pytest.fixture(scope="module", params=["numbers", "labels"])
def stream(request):
    """A reference, and later rows that are as it was."""
    kind = request.param
    make = {"numbers": cases.numbers, "labels": cases.labels}[kind]
    reference, later = make(7, ROWS), make(8, ROWS)
    y = cases.drawn(reference), cases.drawn(later, 1)
    return kind, (reference, y[0]), (later, y[1])


def watched(make, stream, **options):
    _, (p, y), _ = stream
    return make(p, reference_y=y, reference_inputs=features(0, ROWS), **options)


def feed(monitor, p, y, x, start=0):
    for part in np.array_split(np.arange(len(p)), 3):
        ids = [f"later-{start + i}" for i in part]
        monitor.log(ids, p[part], inputs=x[part])
        monitor.observe(ids, y[part])


def test_nothing_is_said_of_rows_like_the_reference(make, stream):
    alarms = []
    monitor = watched(make, stream, on_alarm=alarms.append)
    feed(monitor, *stream[2], features(1, ROWS))
    status = monitor.status()
    assert status.is_well
    assert not alarms
    assert "No change was found" in repr(status)
    for name, value in status.scores.items():
        assert value == pytest.approx(status.reference[name], abs=0.06), name


CHANGES = {
    "inputs": "The input 'x1' is higher",
    "epistemic": "The epistemic uncertainty is higher",
    "targets": "overconfident",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_raise_an_alarm_once_and_by_name(change, make, stream):
    kind, _, (p, y) = stream
    alarms, x = [], features(1, ROWS, shift=2.0 * (change == "inputs"))
    monitor = watched(make, stream, on_alarm=alarms.append)
    if change == "epistemic":
        middle = p.outputs.mean(axis=0)
        outputs = middle + 3 * (p.outputs - middle)
        if kind == "numbers":
            outputs[..., 1] = p.outputs[..., 1]
        p = type(p)(outputs, p.likelihood)
        y = cases.drawn(p)
    if change == "targets":
        rng = cases.rng(2)
        y = rng.permutation(y) if kind == "labels" else y + rng.normal(size=1)
        if kind == "numbers":
            y = y + rng.normal(size=y.shape)
    feed(monitor, p, y, x)
    status = monitor.status()
    assert not status.is_well
    assert CHANGES[change] in repr(status)
    assert "Something has changed" in status.headline
    assert [a.signal for a in alarms] == [a.signal for a in status.alarms]
    assert all(a.e_value > 1000 and a.num_rows <= ROWS for a in alarms)
    feed(monitor, p, y, x, start=ROWS)
    names = [a.signal for a in alarms]
    assert len(set(names)) == len(names)
    monitor.restart()
    assert monitor.status().is_well


def test_bad_values_are_counted_and_good_ones_scored(make, stream):
    _, _, (p, y) = stream
    p, y, x = p[:N], y[:N], features(1, N)
    outputs = p.outputs.copy()
    outputs[:, 3] = np.nan
    p = type(p)(outputs, p.likelihood)
    x[5, 0], x[6, 2] = np.nan, 100.0
    monitor = watched(make, stream)
    monitor.log(IDS, p, inputs=x)
    found = monitor.observe(IDS, y)
    assert (found.scored, found.ignored) == (N - 1, 1)
    status = monitor.status()
    assert status.counts["nan"] == 1
    assert (status.counts["input_nan"], status.inputs) == (1, {"x2": 1})
    good = np.delete(np.arange(N), 3)
    expected = p[good].evaluate(y[good])
    assert status.scores["nll"] == pytest.approx(expected["nll"], rel=1e-5)
    for words in ("predictions were not finite", "input 'x2' are out"):
        assert words in repr(status)
    assert monitor.find("row-3")["nll"] is None


@pytest.mark.parametrize("is_right", [True, False])
def test_intervals_of_counts_hold_more_than_their_level(is_right, make):
    """That alone is no alarm; that counts vary more than predicted is one."""
    rng = cases.rng(0)
    outputs = np.full((1, ROWS, 1), -0.5, "float32")
    p = RegressionPredictive(outputs, likelihoods.Poisson())
    rates = p.mean[:, 0]
    if not is_right:
        rates = rng.gamma(0.3, rates / 0.3)
    y = rng.poisson(rates)
    monitor = make()
    monitor.log(range(ROWS), p)
    monitor.observe(range(ROWS), y)
    status = monitor.status()
    assert status.scores["coverage_90"] > 0.91
    assert status.is_well == is_right


def test_masked_rows_are_not_scored(make):
    p = cases.numbers()
    mask = np.arange(N) % 3 > 0
    masked = type(p)(p.outputs, p.likelihood, mask=mask)
    y = cases.drawn(p)
    monitor = make()
    monitor.log(IDS, masked)
    assert monitor.observe(IDS, y).scored == mask.sum()
    expected = masked.evaluate(y)["nll"]
    assert monitor.status().scores["nll"] == pytest.approx(expected, rel=1e-5)


def test_ids_meta_and_what_is_known_of_a_row(make, clock):
    p = cases.numbers()[:3]
    monitor = make()
    assert monitor.find("a") is None
    meta = {"version": 2, "country": ["de", "fr", "it"], "size": np.arange(3)}
    name = uuid.UUID(int=8)
    assert monitor.log(["a", 7, name], p, meta).written == 3
    assert monitor.find(name) == monitor.find(str(name))
    clock.now += 90
    monitor.observe(7, [0.25])
    found = monitor.find(7)
    assert found["meta"] == {"version": 2, "country": "fr", "size": 1}
    assert found["label_time"] - found["time"] == 90
    assert found["y"] == [0.25]
    assert found["nll"] == pytest.approx(-p[1].log_prob([0.25])[0], rel=1e-6)
    assert found["epistemic"] == pytest.approx(
        np.sqrt(p.epistemic_variance[1, 0])
    )
    assert monitor.status().delay == 90
    again = monitor.log(["a", "b"], cases.numbers(4)[:2])
    assert (again.written, again.duplicates) == (1, 1)
    counts = monitor.status().counts
    assert (counts["duplicate"], counts["conflict"]) == (1, 1)
    monitor.observe(["b", "b", "b"], [1.0, 1.0, 2.0])  # twice in one call
    counts = monitor.status().counts
    assert (counts["repeated"], counts["changed"]) == (1, 1)
    assert monitor.find("b")["y"] == [2.0]


def test_windows_of_time_and_of_predictions(make, clock):
    p, y = cases.numbers(rows=6000), np.zeros(6000)
    monitor = make(window=datetime.timedelta(hours=5))
    for hour in range(6):  # each hour a thousand rows, better ones each time
        part = np.arange(1000 * hour, 1000 * hour + 1000)
        one = p[part]
        monitor.log(part, one)
        monitor.observe(part, y[part])
        clock.now += 3600
    scores = {w: monitor.status(w) for w in ("5h", "2h", 2000, 1500, "1000")}
    rows = {w: status.counts["predictions"] for w, status in scores.items()}
    assert rows == {
        "5h": 5000,
        "2h": 2000,
        2000: 2000,
        1500: 2000,
        "1000": 1000,
    }
    last = p[4000:].evaluate(y[4000:])
    for window in ("2h", 2000):
        found = scores[window].scores
        assert found["rmse"] == pytest.approx(last["rmse"], rel=1e-5)
    assert "the last 5 hours" in repr(scores["5h"])
    assert "the last 2,000 predictions" in repr(scores[2000])


def test_a_clock_that_runs_backwards(make, clock):
    p = cases.numbers()
    monitor = make()
    monitor.log(IDS[:50], p[:50])
    clock.now -= 7200
    monitor.log(IDS[50:], p[50:])
    monitor.observe(IDS, np.zeros(N))
    status = monitor.status()
    assert status.counts["predictions"] == N
    assert status.counts["backwards"] == 1
    assert status.delay == 0
    assert "earlier time" in repr(status)


def test_rows_in_memory_are_written_together(make):
    p = cases.numbers()
    monitor, other = make(buffer=100), make()
    assert monitor.log(IDS[:60], p[:60]).pending == 60
    assert other.status().counts["predictions"] == 0
    assert monitor.log(IDS[60:], p[60:]).written == N
    assert monitor.log(["last"], p[:1]).pending == 1
    monitor.close()
    assert other.status().counts["predictions"] == N + 1


def test_a_monitor_is_opened_again_with_its_tests(make, stream):
    _, _, (p, y) = stream
    x = features(1, ROWS, shift=2.0)
    feed(watched(make, stream), p[:900], y[:900], x[:900])
    again = watched(make, stream)
    before = again.status().alarms
    assert before
    opened = UncertaintyMonitor.open(again._writer._store.url)
    assert opened.status(100_000).alarms == before
    opened.close()
    with pytest.raises(ValueError, match="another reference"):
        make(p)
    with pytest.raises(ValueError, match="another alpha"):
        make(alpha=0.2)
    with pytest.raises(LookupError, match="`name` must"):
        UncertaintyMonitor.open(again._writer._store.url, "other")


class Page(html.parser.HTMLParser):
    """Tags that are open, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.text, self.images = "", 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"

    def handle_data(self, data):
        self.text += data


def test_the_page(make, stream, tmp_path):
    kind, _, (p, y) = stream
    monitor = watched(make, stream)
    path = tmp_path / "page.html"
    monitor.report(path)
    assert "No predictions were logged" in Page(path.read_text()).text
    feed(monitor, p[:600], y[:600], features(1, 600, shift=2.0))
    status = monitor.report(path, most_rows=200, n_boot=20)
    page = Page(path.read_text())
    assert status.alarms[0].words in page.text
    assert "The last 200 rows with labels" in page.text
    assert page.images >= 4
    word = {"numbers": "Coverage of 90 %", "labels": "Accuracy"}[kind]
    assert word in page.text


FORMS = {
    "array": lambda x: x,
    "dict": lambda x: {"a": x[:, 0], "b": x[:, 1:], "name": ["z"] * len(x)},
    "list": lambda x: [x[:, :1], x[:, 1:]],
    "images": lambda x: np.tile(x[:, :, np.newaxis], [1, 1, 4]),
    "frame": lambda x: __import__("pandas").DataFrame(x, columns=list("abc")),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_inputs(form, make):
    p, given = cases.numbers(), FORMS[form]
    monitor = make(p, reference_inputs=given(features(0, N)))
    with pytest.raises(ValueError, match="`inputs` must have"):
        monitor.log(IDS, p, inputs={"other": np.zeros(N)})
    monitor.log(IDS, p, inputs=given(features(1, N) + 1e3))
    assert min(monitor.status().inputs.values()) == N


def test_other_numbers_of_draws_are_warned_of(make):
    p = cases.numbers()
    monitor = make(p)
    fewer = type(p)(p.outputs[:2], p.likelihood)
    with pytest.warns(UserWarning, match="has 2 draws, and the reference has"):
        monitor.log(IDS, fewer)
    y = cases.drawn(fewer)
    monitor.observe(IDS, y)
    expected = pytest.approx(fewer.nll(y), rel=1e-5)
    assert monitor.status().scores["nll"] == expected


def test_errors_of_callbacks_and_nothing_at_all(make, stream):
    _, _, (p, y) = stream

    def fail(alarm):
        raise RuntimeError("no mail today")

    monitor = watched(make, stream, on_alarm=fail)
    assert monitor.log([], p[:0]) == (0, 0, 0, 0)
    assert not any(monitor.observe([], []))
    with pytest.warns(UserWarning, match="no mail today"):
        feed(monitor, p, y, features(1, ROWS, shift=2.0))
    assert monitor.status().counts["predictions"] == ROWS


def test_one_row_and_a_reference_of_one_row(make):
    p = cases.numbers()
    monitor = make(p[:1], reference_y=[0.0])
    monitor.log("one", p[:1])
    monitor.observe("one", 0.5)
    status = monitor.status()
    assert status.is_well
    assert status.counts["labels"] == 1
    assert "The reference has 1 rows only" in repr(status)


def test_no_prediction_has_anything_random(make):
    """Of one pass, epistemic uncertainties are 0: no drift, and no error."""
    p = cases.numbers(rows=1000)
    one = type(p)(p.outputs[:1], p.likelihood, "mean")
    monitor = make(one)
    monitor.log(range(1000), one)
    assert monitor.status().is_well
