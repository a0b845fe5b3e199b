"""Writes a page: what the monitor has seen, and the evaluation of labels."""

import datetime
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base.progress import Bar
from tfpbnn.base.types import Array
from tfpbnn.monitor import records, sums, windows
from tfpbnn.monitor.setup import UNCERTAINTIES, Setup
from tfpbnn.monitor.status import Status
from tfpbnn.plots.style import wilson
from tfpbnn.reporting import figures, page
from tfpbnn.reporting.report import part_of
from tfpbnn.reporting.section import Section

check_installed = page.check_installed
_MOST_POINTS = 200


class Timeline(NamedTuple):
    """Numbers over time, one for each span.

    Attributes:
        time: the ends of spans, in seconds, `[T]`.
        parts: sums of spans, `[T, ...]`, by name.
    """

    time: Array
    parts: dict[str, Array]

    @classmethod
    def of(cls, setup: Setup, buckets: list[Any]) -> "Timeline":
        """Joins buckets, the newest first, to spans that can be drawn."""
        buckets = buckets[::-1]
        groups = np.array_split(
            np.arange(len(buckets)), min(len(buckets), _MOST_POINTS) or 1
        )
        rows = [
            sums.unpack(setup, sum(buckets[i].sums for i in group))
            for group in groups
            if len(group)
        ]
        time = [buckets[g[-1]].last_time for g in groups if len(g)]
        names = rows[0] if rows else {}
        parts = {name: np.stack([row[name] for row in rows]) for name in names}
        return cls(np.array(time), parts)


def write(
    path: Any,
    name: str,
    setup: Setup,
    status: Status,
    timeline: Timeline,
    rows: list[Any],
    n_boot: int,
) -> None:
    """Writes the page.

    Args:
        path: the file.
        name: of the monitor.
        setup: of the monitor.
        status: what is said first.
        timeline: what is drawn.
        rows: predictions with labels, as the store gives them.
        n_boot: the number of resamples of rows.
    """
    parts = {
        "": {
            "headline": status.headline,
            "warnings": [*status.alarm_lines(), *status.notes],
            "lines": status.lines(),
            "scores": {},
            "figures": _figures(setup, timeline),
        }
    }
    section = _section(setup, rows)
    if section is not None:
        found = part_of(section, None, None, None, n_boot, 0, Bar(0))
        heading = f"The last {len(section.predictive):,} rows with labels"
        parts[heading] = {**found, "heading": heading}
    page.write(
        path,
        title=f"The monitor {name}",
        about=f"{status.counts['predictions']:,} predictions.",
        parts=parts,
        made_by=f"Made by tfpbnn, {datetime.date.today().isoformat()}.",
    )


def _section(setup: Setup, rows: list[Any]) -> Section | None:
    """Makes what is evaluated of rows; of those with the most draws alike."""
    if setup.model is None or not rows:
        return None
    shapes = [(row.draws, len(row.outputs), len(row.y)) for row in rows]
    common = max(set(shapes), key=shapes.count)
    alike = [
        r for r, shape in zip(rows, shapes, strict=True) if shape == common
    ]
    outputs = records.joined(
        [row.outputs for row in alike], common[0], setup.model.num_outputs
    )
    y = records.as_labels(np.stack([np.frombuffer(r.y) for r in alike]))
    likelihood = records.from_config(setup.model.likelihood)
    if setup.model.is_labels and y.ndim == 1:
        y = y.astype(np.int64)
    predictive = records.predictive(likelihood, outputs)
    return Section("", predictive, y, None, None, None)


def _figures(setup: Setup, timeline: Timeline) -> list[Any]:
    """Draws numbers over time."""
    if not len(timeline.time):
        return []
    found = [
        figures.Figure(
            "How uncertain is it?",
            figures.image(_uncertainties(setup, timeline)),
            "Mean uncertainties, and dashed those of the reference. Epistemic "
            "uncertainty that rises says that inputs are less familiar.",
        )
    ]
    if timeline.parts["labels"].any() and setup.model is not None:
        found.append(
            figures.Figure(
                "Is its confidence justified?",
                figures.image(_promises(setup, timeline)),
                "By the time at which labels came, with 95 % intervals. The "
                "dashed line is what the model promises.",
            )
        )
    return found


def _axes() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    return figure, figure.subplots()


def _dates(timeline: Timeline) -> list[datetime.datetime]:
    return [windows.utc(t) for t in timeline.time]


def _uncertainties(setup: Setup, timeline: Timeline) -> Any:
    figure, ax = _axes()
    parts = timeline.parts
    rows = (parts["rows"] - parts["nan"])[:, 0]
    for i, name in enumerate(UNCERTAINTIES):
        mean = parts[name][:, 0] / np.where(rows, rows, np.nan)
        ax.plot(_dates(timeline), mean, ".-", color=f"C{i}", label=name)
        if name in setup.variables:
            ax.axhline(setup.variables[name].mean, color=f"C{i}", ls="--", lw=1)
    is_labels = setup.model is not None and setup.model.is_labels
    ax.set_ylabel("nats" if is_labels else "standard deviation")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    figure.autofmt_xdate()
    return figure


def _promises(setup: Setup, timeline: Timeline) -> Any:
    figure, ax = _axes()
    parts = timeline.parts
    assert setup.model is not None
    if setup.model.is_labels:
        counts, confidence, right = np.moveaxis(
            parts["confidence"].reshape(len(timeline.time), 3, -1).sum(-1), 1, 0
        )
        label = "accuracy"
    else:
        counts, right = parts["loss"][:, 1], parts["covered"][:, 0]
        confidence, label = 0.9 * counts, "coverage of 90 % intervals"
    some = counts > 0
    share = right[some] / counts[some]
    dates = [d for d, has in zip(_dates(timeline), some, strict=True) if has]
    ends = [wilson(s, c) for s, c in zip(share, counts[some], strict=True)]
    low, high = np.transpose(ends)
    ax.fill_between(dates, low, high, alpha=0.2)
    ax.plot(dates, share, ".-", label=label)
    promise = confidence[some] / counts[some]
    ax.plot(dates, promise, "k--", lw=1, label="promised")
    ax.legend(frameon=False)
    figure.autofmt_xdate()
    return figure
