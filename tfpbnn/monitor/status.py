"""Says how a model is doing: numbers of a window, and sentences of them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tfpbnn.base.types import Array
from tfpbnn.monitor import sums, windows
from tfpbnn.monitor.ledger import Alarm
from tfpbnn.monitor.setup import UNCERTAINTIES, Setup
from tfpbnn.monitor.windows import Window

_FEW = 500


class Status(NamedTuple):
    """How a model is doing. Printed, it is a few sentences.

    Attributes:
        name: of the monitor.
        window: what the numbers are of.
        alarms: what tests have found since they began; a list of `Alarm`.
        counts: how many "predictions", "labels" and "waiting" labels there are
            in the window, and what went wrong in it, by name: "nan", "outside"
            and "input_nan" of inputs, "duplicate", "conflict", "changed",
            "lost" and others.
        scores: of the labels that came in the window, the names are those of
            `tfpbnn.evaluate`.
        reference: the same scores of the reference, if it had labels.
        uncertainties: the mean "epistemic" and "aleatoric" uncertainty: of
            labels in nats, of numbers standard deviations.
        reference_uncertainties: those of the reference.
        delay: how long labels took, in seconds, in the mean; or None.
        inputs: how many values were out of the reference's range, by the name
            of the input; those of none are left out.
        notes: what limits the tests, in words.
    """

    name: str
    window: Window
    alarms: list[Alarm]
    counts: dict[str, int]
    scores: dict[str, float]
    reference: dict[str, float]
    uncertainties: dict[str, float]
    reference_uncertainties: dict[str, float]
    delay: float | None
    inputs: dict[str, int]
    notes: list[str]

    @property
    def is_well(self) -> bool:
        """Whether there is no alarm."""
        return not self.alarms

    @property
    def headline(self) -> str:
        """The sentence that it begins with."""
        if not self.counts["predictions"] and self.is_well:
            return "No predictions were logged in this window."
        if self.is_well:
            return "No change was found."
        return f"Something has changed: {self.alarms[0].words}"

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.headline}"]
        lines += [f"  Alarm: {line}" for line in self.alarm_lines()]
        lines += [f"  {line}" for line in self.lines()]
        lines += [f"  Note: {line}" for line in self.notes]
        return "\n".join(lines)

    def alarm_lines(self) -> list[str]:
        """The alarms in words."""
        return [
            f"{alarm.words} (Since {_when(alarm.time)}, after "
            f"{alarm.num_rows:,} rows; e-value {alarm.e_value:.3g}.)"
            for alarm in self.alarms
        ]

    def lines(self) -> list[str]:
        """What there was, in words."""
        return [*self._of_rows(), *self._of_scores(), *self._of_quality()]

    def _of_rows(self) -> Iterator[str]:
        rows, labels = self.counts["predictions"], self.counts["labels"]
        yield f"Of {windows.words(self.window)}:"
        if not labels:
            yield f"{rows:,} predictions, none with a label yet."
        else:
            after = f", after {windows.spelled(self.delay or 0)} in the mean"
            yield f"{rows:,} predictions; {labels:,} labels came{after}."
        if self.counts["waiting"]:
            yield (
                f"{self.counts['waiting']:,} labels wait for a prediction of "
                "their id."
            )

    def _of_scores(self) -> Iterator[str]:
        for name, value in self.scores.items():
            before = self.reference.get(name)
            than = "" if before is None else f" (reference {before:.4g})"
            yield f"{_SCORES[name]}: {value:.4g}{than}."
        for name, value in self.uncertainties.items():
            before = self.reference_uncertainties.get(name)
            than = "" if before is None else f" (reference {before:.4g})"
            yield f"Mean {name} uncertainty: {value:.4g}{than}."

    def _of_quality(self) -> Iterator[str]:
        for name, words in _QUALITY.items():
            count = self.counts.get(name, 0)
            if count:
                yield f"{count:,} {words}"
        for name, count in self.inputs.items():
            yield (
                f"{count:,} values of the input {name!r} are out of the "
                "reference's range."
            )


_SCORES = {
    "nll": "NLL",
    "rmse": "RMSE",
    "coverage_90": "Coverage of 90 % intervals",
    "calibration_error": "Calibration error",
    "accuracy": "Accuracy",
    "brier": "Brier score",
    "ece": "ECE",
    "confidence": "Mean confidence",
}
_QUALITY = {
    "lost": "predictions could not be written, and are lost.",
    "lost_labels": "labels could not be written, and are lost.",
    "nan": "predictions were not finite numbers, and can't be scored.",
    "input_nan": "values of inputs were not finite numbers.",
    "duplicate": "predictions had an id that was logged before.",
    "conflict": "of those differed from the first, which stays.",
    "changed": "labels were sent again with another value: scores are of the "
    "new one, and tests of the first.",
    "repeated": "labels were sent again.",
    "ignored": "labels can't be scored.",
    "unfit": "labels that came first did not fit their predictions.",
    "backwards": "writes had an earlier time than the one before.",
}


def summarize(
    setup: Setup,
    transaction: Any,
    window: Window,
    now: float,
    lost: Mapping[str, int],
) -> Status:
    """Reads the status of a monitor.

    Args:
        setup: of the monitor.
        transaction: of its store.
        window: what to sum over.
        now: the time, in seconds.
        lost: what this process could not write and has not counted yet.
    """
    found = transaction.buckets(windows.since(window, now))
    total = sums.pack(setup, {})
    for bucket in windows.within(window, found):
        total = total + bucket.sums
    parts = sums.unpack(setup, total)
    labels = parts["labels"][0]
    return Status(
        name=transaction.name,
        window=window,
        alarms=[Alarm(*alarm) for alarm in transaction.head["alarms"]],
        counts=_counts(parts, transaction.head["waiting"], lost),
        scores={}
        if setup.model is None
        else sums.scores(setup.model.is_labels, parts),
        reference=setup.scores,
        uncertainties=sums.uncertainties(parts),
        reference_uncertainties={
            name: setup.variables[name].mean
            for name in UNCERTAINTIES
            if name in setup.variables
        },
        delay=float(parts["delay"][0] / labels) if labels else None,
        inputs={
            name: int(count)
            for name, count in zip(
                setup.features, parts["input_outside"], strict=True
            )
            if count
        },
        notes=_notes(setup),
    )


def _counts(
    parts: Mapping[str, Array], waiting: int, lost: Mapping[str, int]
) -> dict[str, int]:
    found = {name: int(parts[name][0]) for name in sums.EVENTS}
    for name, count in lost.items():
        found[name] += count
    return {
        "predictions": int(parts["rows"][0]),
        "labels": int(parts["labels"][0]),
        "waiting": int(waiting),
        "nan": int(parts["nan"][0]),
        "input_nan": int(parts["input_nan"].sum()),
        "outside": int(parts["input_outside"].sum()),
        **found,
    }


def _notes(setup: Setup) -> list[str]:
    """Lists what limits the tests."""
    if not setup.variables:
        return ["There is no reference, so drift is not tested."]
    fewest = min(variable.count for variable in setup.variables.values())
    if fewest >= _FEW:
        return []
    return [
        f"The reference has {fewest} rows only: small drifts can't be told "
        "from its own chance."
    ]


def _when(time: float) -> str:
    return windows.utc(time).strftime("%Y-%m-%d %H:%M UTC")
