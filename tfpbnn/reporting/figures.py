"""Draws the figures of a page."""

import base64
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tfpbnn import diagnostics, plots
from tfpbnn.reporting.section import Section

# More classes would be too small to read.
_MOST_CLASSES = 12


class Figure(NamedTuple):
    """A figure, and how to read it.

    Attributes:
        title: what it shows.
        image: a PNG as a `data:` address.
        words: how someone without statistics reads it.
    """

    title: str
    image: str
    words: str


# A title, what draws it of (section, model), and how to read it. None of it is
# drawn where it says nothing.
_Drawing = tuple[str, Callable[[Section, Any], Any], str]


def figures(section: Section, model: Any) -> list[Figure]:
    """Draws the figures of a section."""
    drawings = _OF_LABELS if section.is_labels else _OF_NUMBERS
    found = []
    for title, draw, words in (*drawings, *_OF_BOTH):
        figure = draw(section, model)
        if figure is not None:
            found.append(Figure(title, image(figure), words))
    return found


def image(figure: Any) -> str:
    """Makes a PNG of a figure, as a `data:` address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/png;base64,{data}"


def _with_targets(plot: Callable[..., Any], **options: Any) -> Any:
    def draw(section: Section, _: Any) -> Any:
        return plot(
            section.predictive,
            section.y,
            sample_weight=section.sample_weight,
            **options,
        )

    return draw


def _events(section: Section, _: Any) -> Any:
    if section.predictive.summaries[0].shape[-1] != 2:
        return None
    return plots.event_calibration(
        section.predictive, section.y, sample_weight=section.sample_weight
    )


def _confusion(section: Section, _: Any) -> Any:
    if section.predictive.summaries[0].shape[-1] > _MOST_CLASSES:
        return None
    return plots.confusion_by_confidence(
        section.predictive,
        section.y,
        class_names=section.class_names,
        sample_weight=section.sample_weight,
    )


def _split(section: Section, _: Any) -> Any:
    return plots.variance_split(section.predictive)


def _other(section: Section, _: Any) -> Any:
    if section.ood is None:
        return None
    return plots.out_of_distribution(section.predictive, section.ood)


def _kl(_: Section, model: Any) -> Any:
    if not isinstance(model, keras.Model):
        return None
    try:
        found = diagnostics.kl_by_layer(model)
    except (TypeError, ValueError):  # nothing in it has a KL
        return None
    return plots.kl_by_layer(found)


_OF_LABELS: tuple[_Drawing, ...] = (
    (
        "Can its confidence be believed?",
        _with_targets(plots.reliability_diagram),
        "A bar is a group of rows that it was about equally sure of; its "
        "height is how often it was right. Bars that end on the diagonal mean "
        "that it can be taken at its word; below it, it says too much.",
    ),
    (
        "How often does the event come?",
        _events,
        "Of all rows with a predicted probability of about 20 %, a fifth "
        "should have the event. Dots on the diagonal are right; their lines "
        "tell how far chance may have moved them.",
    ),
    (
        "Which labels are taken for which?",
        _confusion,
        "Numbers off the diagonal of the left matrix are mistakes that it was "
        "sure of: those nobody would look at.",
    ),
    (
        "What if the least sure rows go to a person?",
        _with_targets(plots.risk_coverage),
        "On the right it decides all rows; moving left, the rows it is least "
        "sure of are handed over. A curve that falls means that it hands over "
        "the right ones.",
    ),
)
_OF_NUMBERS: tuple[_Drawing, ...] = (
    (
        "Are intervals as wide as they should be?",
        _with_targets(plots.calibration_curve),
        "A tenth of the targets should be below the predicted 10 % mark, a "
        "half below the 50 % mark. Inside of the grey band chance explains "
        "the rest.",
    ),
    (
        "What is wrong if they are not?",
        _with_targets(plots.pit_histogram),
        "High bars at both ends: too sure. A hump: not sure enough. A slope: "
        "too low or too high all the time.",
    ),
    (
        "Does it know where it is bad?",
        _with_targets(plots.error_by_stddev),
        "Errors should grow along the diagonal with the standard deviation "
        "that was predicted.",
    ),
    (
        "Why is it unsure?",
        _split,
        "Noise stays whatever you do; what is not known goes away with more "
        "data of that kind.",
    ),
    (
        "What if the least sure rows go to a person?",
        _with_targets(plots.risk_coverage),
        "On the right it decides all rows; moving left, the rows it is least "
        "sure of are handed over. A curve that falls means that it hands over "
        "the right ones.",
    ),
)
_OF_BOTH: tuple[_Drawing, ...] = (
    (
        "Does it notice data of another kind?",
        _other,
        "The two histograms should be apart. The curve shows how many of the "
        "other data are found (up) for how many false alarms (right).",
    ),
    (
        "Where has it learned?",
        _kl,
        "A layer with almost no nats stayed where the prior put it, and adds "
        "nothing but noise.",
    ),
)
