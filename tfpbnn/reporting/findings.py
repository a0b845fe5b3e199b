"""Puts scores in plain words: what was found, and what to be wary of."""

from typing import Any, NamedTuple

import keras
import numpy as np

from tfpbnn import diagnostics
from tfpbnn.base.types import Array
from tfpbnn.metrics import labels, numbers
from tfpbnn.plots.style import effective, wilson
from tfpbnn.reporting.scoring import Score
from tfpbnn.reporting.section import Section

_SURE = 0.9
_FEW = 100
# A Monte Carlo error matters if it is this share of the rows' error.
_NOISY = 0.5
# And if it is that share of the score.
_SEEN = 0.02


class Confidence(NamedTuple):
    """How sure labels were predicted, and how often they were right.

    Attributes:
        said: the mean top probability.
        right: the share of right labels.
        num_labels: how many labels there are.
        error: the standard error of the difference of the two.
    """

    said: float
    right: float
    num_labels: int
    error: float


def headline(section: Section, scores: dict[str, Score]) -> str:
    """Says in a sentence what the page has found."""
    if section.is_labels:
        return _headline_of_labels(section)
    share, low, high = _coverage(section, scores)
    return (
        f"Its 90 % intervals hold {_percent(share)} of the targets (between "
        f"{_percent(low)} and {_percent(high)}, as far as so many rows can "
        "tell)."
    )


def _headline_of_labels(section: Section) -> str:
    places = _top(section)
    sure = places[0] >= _SURE
    every = _confidence(*places)
    if sure.sum() < 10:
        return (
            f"On average it says {_percent(every.said)}, and is right "
            f"{_percent(every.right)} of the time."
        )
    found = _confidence(*(part[sure] for part in places))
    return (
        f"When it says {_SURE:.0%} or more (on average {_percent(found.said)}; "
        f"{found.num_labels} of {every.num_labels}), it is right "
        f"{_percent(found.right)} of the time. Over all it is right "
        f"{_percent(every.right)} of the time, and says {_percent(every.said)}."
    )


def warnings(
    section: Section, scores: dict[str, Score], model: Any
) -> list[str]:
    """Lists what a reader must know before using the model."""
    found = [
        _few_rows(section),
        _off(section, scores),
        *_collapsed(model),
        _few_draws(section, scores),
        _blind(scores),
    ]
    return [warning for warning in found if warning]


def _coverage(
    section: Section, scores: dict[str, Score]
) -> tuple[float, float, float]:
    """Returns the coverage of 90 % intervals, with Wilson's interval of it.

    The bootstrap has none where all targets are inside; else it says how many
    targets there are for that, since those of a row may go together.
    """
    found = scores["Coverage of 90 % intervals"].value
    share, error = float(found), found.stderr
    read = numbers.places(section.y, section.predictive, section.sample_weight)
    count = effective(read.rows(read.y).weights)
    if error > 0 and read.weights.size > len(np.unique(read.row)):
        count = min(count, share * (1 - share) / error**2)
    return (share, *wilson(share, count))


def _percent(share: float) -> str:
    """Writes a share; one that is not quite all, or nothing, shows that."""
    is_extreme = 0 < share < 0.005 or 0.995 < share < 1
    return f"{share:.1%}" if is_extreme else f"{share:.0%}"


def _few_rows(section: Section) -> str:
    count = len(section.predictive)
    if count >= _FEW:
        return ""
    return (
        f"There are {count} rows only: look at the intervals before the "
        "numbers, and at tests on more data before both."
    )


def _off(section: Section, scores: dict[str, Score]) -> str:
    """Says whether a prediction is too sure, or not sure enough."""
    if section.is_labels:
        found = _confidence(*_top(section))
        gap = found.said - found.right
        if abs(gap) < max(2.6 * found.error, 0.01):
            return ""
        word, more = _words(gap > 0)
        return (
            f"It is {word}: on average it says {_percent(found.said)}, and is "
            f"right {_percent(found.right)} of the time, which chance does not "
            f"explain. {more}"
        )
    share, low, high = _coverage(section, scores)
    if low <= 0.9 <= high:
        return ""
    word, more = _words(share < 0.9)
    return (
        f"It is {word}: its 90 % intervals hold {_percent(share)} of targets, "
        f"which chance does not explain. {more}"
    )


def _words(is_over: bool) -> tuple[str, str]:
    more = "Recalibrate it on data that it was not trained on."
    if is_over:
        return "overconfident", f"Its uncertainty is too small. {more}"
    return "underconfident", f"Its uncertainty is too large. {more}"


def _collapsed(model: Any) -> list[str]:
    """Names the layers of which most units stayed at the prior."""
    if not isinstance(model, keras.Model):
        return []
    try:
        found = diagnostics.collapse(model)
    except (TypeError, ValueError):  # nothing in it has a KL
        return []
    return [
        f"{each.num_units} of {each.units.size} units of {name} stayed at the "
        "prior, and add nothing but noise: take a smaller network, or let the "
        "KL's weight rise slowly (KLWeight(warmup_epochs=...))."
        for name, each in found.items()
        if 2 * each.num_units > each.units.size
    ]


def _few_draws(section: Section, scores: dict[str, Score]) -> str:
    """Says if another seed would change a score."""
    noisy = {
        name: (score.error or 0)
        / max(_NOISY * score.value.stderr, _SEEN * abs(score.value))
        for name, score in scores.items()
        if score.value.stderr > 0
    }
    worst = max(noisy, key=lambda name: noisy[name], default="")
    if not worst or noisy[worst] <= 1:
        return ""
    draws = section.predictive.num_samples
    needed = int(np.ceil(draws * noisy[worst] ** 2 / 10) * 10)
    return (
        f"{draws} draws are few: another seed would change {worst} by about "
        f"{scores[worst].error:.2g}. Take {needed} (`num_samples={needed}`), "
        "or where draws are members, or samples that were kept, have more."
    )


def _blind(scores: dict[str, Score]) -> str:
    score = scores.get("AUROC of other data")
    if score is None or score.value.lower > 0.5:
        return ""
    return (
        "It does not notice the other data: their uncertainty is no higher "
        f"than that of the test data (AUROC {score.value:.2f})."
    )


def _top(section: Section) -> tuple[Array, ...]:
    """Computes top probabilities, whether they are right, weights and rows."""
    read = labels.labelled(section.y, section.predictive, section.sample_weight)
    right = read.probabilities.argmax(axis=-1) == read.labels
    return read.probabilities.max(axis=-1), right, *read.rows


def _confidence(
    top: Array, right: Array, weights: Array, row: Array
) -> Confidence:
    said, share = (np.average(v, weights=weights) for v in (top, right))
    each = weights / weights.sum()
    # The labels of a row, such as pixels, go together.
    off = each * (top - right - (said - share))
    by_row = np.bincount(np.unique(row, return_inverse=True)[1], off)
    # Where all are right they don't tell how they vary; what was said does.
    least = float(np.sum(each**2 * top * (1 - top)))
    error = np.sqrt(max(np.sum(by_row**2), least))
    return Confidence(float(said), float(share), len(top), float(error))
