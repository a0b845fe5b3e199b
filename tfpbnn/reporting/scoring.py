"""Computes the scores of a page, with two kinds of errors.

The interval is the bootstrap's, over rows: what other test data would have
given. The Monte Carlo error is the jackknife's, over groups of draws: what
another seed would have given.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpbnn import metrics
from tfpbnn.base.progress import Bar
from tfpbnn.metrics import Estimate, rows
from tfpbnn.reporting.section import Section

_GROUPS = 10


class Kind(NamedTuple):
    """A score that pages have.

    Attributes:
        name: its name on the page.
        function: computes it of `(section, **bootstrap)`.
        meaning: what it says, in a plain sentence.
        is_of_ood: whether it needs rows of another kind.
        needs_errors: whether it needs right and wrong labels, of which there
            may be one kind only.
    """

    name: str
    function: Callable[..., Any]
    meaning: str
    is_of_ood: bool = False
    needs_errors: bool = False


class Score(NamedTuple):
    """A score with its errors.

    Attributes:
        kind: which score it is.
        value: the score, with its interval.
        error: the Monte Carlo standard error, or None if it can't be known.
    """

    kind: Kind
    value: Estimate
    error: float | None


def _of(metric: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Makes a function of sections of a metric of targets and predictions."""

    def function(section: Section, **bootstrap: Any) -> Any:
        return metric(
            section.y,
            section.predictive,
            sample_weight=section.sample_weight,
            **options,
            **bootstrap,
        )

    return function


def _of_ood(metric: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Makes a function of sections of a metric that tells rows apart."""

    def function(section: Section, **bootstrap: Any) -> Any:
        pair = metrics.in_and_out(section.predictive, section.ood)
        return metric(*pair, **options, **bootstrap)

    return function


_OOD = (
    Kind(
        "AUROC of other data",
        _of_ood(metrics.auroc),
        "How often a row of the other data is more uncertain than one of the "
        "test data; 0.5 is a coin, 1 is perfect.",
        is_of_ood=True,
    ),
    Kind(
        "False alarms at 95 % found",
        _of_ood(metrics.fpr_at_tpr, tpr=0.95),
        "The share of test rows that are taken for other data, where 95 % of "
        "the other data are found; lower is better.",
        is_of_ood=True,
    ),
)
_NLL = Kind(
    "NLL",
    _of(metrics.nll),
    "How surprising the targets were, in nats; lower is better. It punishes "
    "being sure and wrong.",
)
OF_LABELS = (
    Kind("Accuracy", _of(metrics.accuracy), "The share of right labels."),
    _NLL,
    Kind(
        "Brier score",
        _of(metrics.brier),
        "The squared distance of the probabilities from what came, from 0 to "
        "2; lower is better.",
    ),
    Kind(
        "ECE",
        _of(metrics.ece),
        "How far confidence is from accuracy, on average; with few rows it is "
        "above 0 by chance.",
    ),
    Kind(
        "AUROC of errors",
        _of(metrics.auroc, event="error"),
        "How often a wrong label is more uncertain than a right one; 0.5 is a "
        "coin, 1 is perfect.",
        needs_errors=True,
    ),
    Kind(
        "Error of the surest 80 %",
        _of(metrics.risk_at_coverage, coverage=0.8),
        "The share of wrong labels if the fifth of least confidence is handed "
        "to a person.",
    ),
    *_OOD,
)
OF_NUMBERS = (
    Kind(
        "RMSE",
        _of(metrics.rmse),
        "The size of errors, in the units of the target; large ones count "
        "more.",
    ),
    Kind(
        "MAE", _of(metrics.mae), "The mean size of errors, in the same units."
    ),
    _NLL,
    Kind(
        "CRPS",
        _of(metrics.crps),
        "The distance of the predicted distributions from the targets, in "
        "their units; lower is better.",
    ),
    Kind(
        "Coverage of 90 % intervals",
        _of(metrics.coverage, nominal=0.9),
        "The share of targets inside of their 90 % intervals; it should be "
        "0.9.",
    ),
    Kind(
        "Width of 90 % intervals",
        _of(metrics.sharpness, nominal=0.9),
        "The mean width, in the units of the target; narrower is better if the "
        "coverage is right.",
    ),
    Kind(
        "Calibration error",
        _of(metrics.regression_calibration_error),
        "How far the shares of targets below predicted quantiles are from "
        "these, on average.",
    ),
    *_OOD,
)


def scores(
    section: Section, n_boot: int, seed: int, bar: Bar
) -> dict[str, Score]:
    """Computes all scores of a section, by name.

    The AUROC of errors is left out if all labels are right, or all wrong.

    Raises:
        ValueError: if the targets don't fit, fewer than two rows count, or the
            draws that a score needs were not kept.
    """
    _check_rows(section)
    found = {}
    has_both = section.is_labels and 0 < _accuracy(section) < 1
    for kind in kinds(section):
        if has_both or not kind.needs_errors:
            value = kind.function(section, n_boot=n_boot, seed=seed)
            error = _monte_carlo(section, kind)
            found[kind.name] = Score(kind, value, error)
        bar.step()
    return found


def _check_rows(section: Section) -> None:
    read = rows.places(section.y, section.predictive, section.sample_weight)
    if (count := len(np.unique(read.row))) < 2:
        raise ValueError(
            "`y` must have two rows or more that count, since one says nothing "
            f"of how scores vary. Received: {count}"
        )


def kinds(section: Section) -> list[Kind]:
    """Lists the kinds of scores that a section can have."""
    table = OF_LABELS if section.is_labels else OF_NUMBERS
    has_ood = section.ood is not None
    return [kind for kind in table if has_ood or not kind.is_of_ood]


_accuracy = _of(metrics.accuracy)


def _monte_carlo(section: Section, kind: Kind) -> float | None:
    """Estimates the standard error of a score from the number of draws."""
    p = section.predictive
    if not p.has_draws or p.num_samples < 2:
        return None
    draws = np.arange(p.num_samples)
    groups = min(_GROUPS, p.num_samples)
    left_out = []
    for group in range(groups):
        kept = draws % groups != group
        without = type(p)(p.outputs[kept], p.likelihood, p.draws, p.mask)
        rest = section.with_predictive(without)
        if kind.needs_errors and not 0 < _accuracy(rest) < 1:
            return None
        left_out.append(float(kind.function(rest)))
    away = np.array(left_out) - np.mean(left_out)
    error = float(np.sqrt((groups - 1) / groups * np.sum(away**2)))
    # Rounding errors of a score that all draws agree on are none.
    return error if error > 1e-9 * abs(np.mean(left_out)) else 0.0
