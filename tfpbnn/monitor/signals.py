"""The numbers of each row whose means are tested as rows come.

To add one: in `of_predictions` or `of_labels` its claim and its words, and its
number of each row in the function of values.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.monitor import records
from tfpbnn.monitor.records import Scored
from tfpbnn.monitor.reference import STATISTICS
from tfpbnn.monitor.sequential import BettingTest
from tfpbnn.monitor.setup import INPUT, UNCERTAINTIES, Setup

LEVEL = 0.9
_SCORES = ("nll", "loss")


class Signal(NamedTuple):
    """A number of each row, in [0, 1], whose mean should stay in a range.

    Attributes:
        variable: what the number is of.
        statistic: which number of it.
        low, high: the range of its mean if all is well.
        words: what is said if the mean is lower, and if it is higher.
    """

    variable: str
    statistic: str
    low: float
    high: float
    words: tuple[str, str]

    @property
    def name(self) -> str:
        """The name that is shown, such as "epistemic location"."""
        return f"{self.variable} {self.statistic}"


def of_predictions(setup: Setup) -> list[Signal]:
    """Lists what is tested without labels: uncertainties and inputs."""
    found = []
    for variable in setup.variables:
        if variable in _SCORES:
            continue
        name = (
            f"The input {variable.removeprefix(INPUT)!r}"
            if variable.startswith(INPUT)
            else f"The {variable} uncertainty"
        )
        words = {
            "location": (
                f"{name} is lower than in the reference.",
                f"{name} is higher than in the reference.",
            ),
            "spread": (
                f"{name} varies less than in the reference.",
                f"{name} varies more than in the reference.",
            ),
        }
        for statistic in STATISTICS:
            low, high = setup.claims[variable, statistic]
            found.append(
                Signal(variable, statistic, low, high, words[statistic])
            )
    return found


def of_labels(setup: Setup) -> list[Signal]:
    """Lists what is tested as labels come."""
    if setup.model is None:
        return []
    spare = setup.options.tolerance
    found = []
    if setup.model.is_labels:
        words = (
            "It is overconfident: labels are right less often than it says.",
            "It is underconfident: labels are right more often than it says.",
        )
        low, high = 0.5 - spare / 2, 0.5 + spare / 2
        found.append(Signal("confidence", "gap", low, high, words))
    else:
        words = (
            "It is overconfident: its 90 % intervals hold too few targets.",
            "It is underconfident: its 90 % intervals hold too many targets.",
        )
        ends = max(0.0, LEVEL - spare), min(1.0, LEVEL + spare)
        found.append(Signal("coverage", "mean", *ends, words))
        words = (
            "Its predictions are too high: targets are below their medians.",
            "Its predictions are too low: targets are above their medians.",
        )
        ends = 0.5 - spare, 0.5 + spare
        found.append(Signal("bias", "mean", *ends, words))
    for variable in _SCORES:
        if variable in setup.variables:
            name = {"nll": "The NLL", "loss": "Its error"}[variable]
            words = (
                f"{name} is lower than in the reference.",
                f"{name} is higher than in the reference.",
            )
            ends = setup.claims[variable, "location"]
            found.append(Signal(variable, "location", *ends, words))
    return found


def values_of_predictions(setup: Setup, values: Mapping[str, Array]) -> Array:
    """Computes what is tested of rows, `[n, signals]`.

    Args:
        setup: of the monitor.
        values: uncertainties and inputs, `[n]`, by the names of variables.
    """
    nothing = np.full(len(values[UNCERTAINTIES[0]]), np.nan)
    found = []
    for name, variable in setup.variables.items():
        if name not in _SCORES:
            ranks = variable.ranks(values.get(name, nothing))
            found += [function(ranks) for function, _ in STATISTICS.values()]
    return np.stack(found, axis=1) if found else np.zeros((len(nothing), 0))


def values_of_labels(setup: Setup, scored: Scored) -> Array:
    """Computes what is tested of scores, `[n, signals]`."""
    assert setup.model is not None
    if setup.model.is_labels:
        gap = (scored.high - scored.low).mean(axis=1)
        found = [(gap + 1) / 2]
    else:
        middle = (scored.low + scored.high) / 2
        found = [records.inside(scored).mean(axis=1), middle.mean(axis=1)]
    columns = {"nll": scored.nll, "loss": scored.loss.mean(axis=1)}
    found += [
        setup.variables[name].ranks(columns[name])
        for name in _SCORES
        if name in setup.variables
    ]
    return np.stack(found, axis=1)


Tests = tuple[BettingTest | None, BettingTest | None]


def tests(setup: Setup) -> Tests:
    """Makes the tests of predictions and of labels; None if there are none.

    All of them share half of the rate of false alarms.
    """
    both = of_predictions(setup), of_labels(setup)
    share = setup.options.alpha / 2 / max(1, sum(map(len, both)))
    first, second = (_test(each, share, setup.options.control) for each in both)
    return first, second


def _test(
    signals: list[Signal], alpha: float, control: str
) -> BettingTest | None:
    if not signals:
        return None
    low, high = zip(*((each.low, each.high) for each in signals), strict=True)
    return BettingTest(low, high, alpha=alpha, control=control)


def states(made: Tests) -> bytes:
    """Returns all that tests remember."""
    parts = [np.zeros(0) if test is None else test.state() for test in made]
    sizes = np.array([len(part) for part in parts], np.float64)
    return np.concatenate([sizes, *parts]).tobytes()


def restore(made: Tests, remembered: bytes | None) -> None:
    """Sets what tests remember, as `states` has returned it."""
    if remembered is None:
        return
    values = np.frombuffer(remembered)
    first = int(values[0])
    parts = values[2 : first + 2], values[first + 2 :]
    for test, part in zip(made, parts, strict=True):
        if test is not None and len(part):
            test.restore(part)


def alarms(
    setup: Setup, made: Tests
) -> Iterator[tuple[Signal, str, int, float]]:
    """Lists alarms: the signal, words, the number of rows and the e-value."""
    both = of_predictions(setup), of_labels(setup)
    for listed, test in zip(both, made, strict=True):
        if test is not None:
            for i in np.flatnonzero(test.has_alarm):
                words = listed[i].words[int(test.is_higher[i])]
                yield listed[i], words, test.count, float(test.highest[i])
