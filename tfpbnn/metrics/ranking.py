"""Scores how well numbers rank what is positive above what is not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, labels, numbers, ranking_curves, rows
from tfpbnn.metrics.losses import score_of_labels
from tfpbnn.metrics.ranking_curves import Found
from tfpbnn.metrics.rows import Ranked
from tfpbnn.metrics.uncertainty import uncertainty

EVENTS = ("label", "error", "ood")


def auroc(
    y_true: Any,
    y_pred: Any,
    *,
    event: str | None = None,
    by: Any = None,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the area under the receiver operating characteristic.

    It is the probability that a positive has a higher score than a negative,
    where equal scores count a half: 0.5 of scores that say nothing.

    Args:
        y_true: what is positive, booleans or 0 and 1, `[N, ...]`; labels of a
            prediction where the event is "label" or "error".
        y_pred: scores `[N, ...]`, higher for positives; or a `Predictive`, of
            which `event` says what is ranked.
        event: what is positive of a `Predictive`: "label", the label itself by
            the probability of yes, or of the second of two classes; "error",
            that the most probable class is wrong, by the uncertainty; or
            "ood", what `y_true` says is out of the distribution, by the
            uncertainty. For scores it must be None.
        by: the uncertainty: a name of `tfpbnn.metrics.uncertainty`, or an array
            `[N, ...]`; None for one minus the probability of the top class, or
            the variance of numbers.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The area, from 0 to 1; higher is better.

    Raises:
        ValueError: if all that count are positive, or none is.

    Reference:
        [Hanley and McNeil, 1982](https://doi.org/10.1148/radiology.143.1.7063747)

    Example:
    ```python
    tfpbnn.metrics.auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])       # 0.75
    ```
    """
    read = _read(y_true, y_pred, event, by, sample_weight)
    return _score(ranking_curves.auroc, read, n_boot, seed, level)


def aupr(
    y_true: Any,
    y_pred: Any,
    *,
    event: str | None = None,
    by: Any = None,
    is_reversed: bool = False,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the area under precision and recall, the average precision.

    It is the precision at each threshold, weighted by the recall that is gained
    there, without interpolation. Scores that say nothing have the share of
    positives.

    Args:
        y_true, y_pred, event, by: as in `auroc`.
        is_reversed: whether to find negatives by their low scores instead, such
            as rows in the distribution: the other of the two values that are
            reported, often called "AUPR-in".
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The area, from 0 to 1; higher is better.

    Raises:
        ValueError: if all that count are positive, or none is.

    Reference:
        [Davis and Goadrich, 2006](https://doi.org/10.1145/1143844.1143874)

    Example:
    ```python
    tfpbnn.metrics.aupr([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])        # 0.83
    ```
    """
    read = _read(y_true, y_pred, event, by, sample_weight, is_reversed)
    return _score(ranking_curves.average_precision, read, n_boot, seed, level)


def fpr_at_tpr(
    y_true: Any,
    y_pred: Any,
    *,
    tpr: float = 0.95,
    event: str | None = None,
    by: Any = None,
    is_reversed: bool = False,
    sample_weight: Any = None,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the share of false alarms where most positives are found.

    The threshold is the highest that finds a share `tpr` of positives or more;
    with 0.95 it is known as FPR95.

    Args:
        y_true, y_pred, event, by: as in `auroc`.
        tpr: the share of positives to find, above 0 and up to 1.
        is_reversed: whether to find negatives by their low scores instead. Many
            papers keep 95 % of the rows *in* the distribution, and report the
            share of others that are kept too: that is `event="ood",
            is_reversed=True`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `accuracy`.

    Returns:
        The share of negatives, from 0 to 1; lower is better.

    Raises:
        ValueError: if all that count are positive, or none is.

    Reference:
        [Liang et al., 2018](https://arxiv.org/abs/1706.02690)

    Example:
    ```python
    tfpbnn.metrics.fpr_at_tpr([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])  # 0.5
    ```
    """
    check = checks.number("above 0 and up to 1", lambda v: 0 < v <= 1)
    tpr = check("tpr", tpr)

    def rate(found: Found) -> float:
        return ranking_curves.false_positive_rate(found, tpr)

    read = _read(y_true, y_pred, event, by, sample_weight, is_reversed)
    return _score(rate, read, n_boot, seed, level)


def in_and_out(inside: Any, outside: Any, *, by: Any = None) -> Any:
    """Joins scores in and out of the distribution, to be told apart.

    Args:
        inside: a `Predictive` of rows in the distribution; or scores `[N,
            ...]`, higher for what is more uncertain.
        outside: the same of rows out of it, `[M, ...]`.
        by: the uncertainty of predictions, by its name; see `auroc`.

    Returns:
        `(is_ood, score)`, `[N + M, ...]` each, which metrics of ranking take.
        Where a prediction masks places, they have NumPy's mask.

    Raises:
        ValueError: if the scores have other places within a row.

    Example:
    ```python
    pair = tfpbnn.metrics.in_and_out([0.1, 0.3], [0.2, 0.9, 0.8])
    tfpbnn.metrics.auroc(*pair)                                     # 0.83
    ```
    """
    first = _scores("inside", inside, by)
    second = _scores("outside", outside, by)
    if first.shape[1:] != second.shape[1:] or first.ndim == 0:
        raise ValueError(
            "`outside` must have the places of `inside` within each row, "
            f"{first.shape[1:]}. Received: scores of shape {second.shape}. "
            "Average over the places of rows first"
        )
    is_ood: Array = np.ma.zeros(
        [len(first) + len(second), *first.shape[1:]], bool
    )
    is_ood[len(first) :] = True
    score = np.ma.concatenate([first, second])
    is_ood[np.ma.getmaskarray(score)] = np.ma.masked
    return (
        (is_ood, score) if np.ma.is_masked(score) else (is_ood.data, score.data)
    )


def _scores(name: str, given: Any, by: Any) -> Array:
    if not rows.is_predictive(given):
        if by is not None:
            raise ValueError(
                f"`by` must be None where scores are given. Received: by={by!r}"
            )
        return rows.array(name, given)
    found = uncertainty(given, by)
    hidden = given.mask is not None
    return np.ma.masked_invalid(found) if hidden else found


def _read(
    y_true: Any,
    y_pred: Any,
    event: str | None,
    by: Any,
    sample_weight: Any,
    is_reversed: bool = False,
) -> Ranked:
    """Reads what is positive, and the score that ranks it."""
    if rows.is_predictive(y_pred):
        if event not in EVENTS:
            raise ValueError(
                "`event` must say what is positive of a prediction: one of "
                f"{list(EVENTS)}. Received: event={event!r}"
            )
        found = _READERS[event](y_true, y_pred, by, sample_weight)
    elif event is not None or by is not None:
        raise ValueError(
            "`event` and `by` must be None where `y_pred` is scores. Received: "
            f"event={event!r}, by={by!r}. Give a `Predictive` for them"
        )
    else:
        y, score = numbers.aligned(
            rows.array("y_true", y_true), rows.array("y_pred", y_pred)
        )
        found = rows.ranked(y, score, sample_weight, ("y_true", "y_pred"))
    if len(np.unique(found.is_positive)) < 2:
        kind = "positive" if found.is_positive[0] else "negative"
        raise ValueError(
            "`y_true` must have positives and negatives that count. Received: "
            f"{len(found.is_positive)} that count, and all are {kind}"
        )
    if is_reversed:
        return Ranked(~found.is_positive, -found.score, found.rows)
    return found


def _labels(y_true: Any, p: Any, by: Any, sample_weight: Any) -> Ranked:
    if by is not None:
        raise ValueError(
            "`by` must be None where the event is 'label', which is ranked by "
            f"its probability. Received: by={by!r}"
        )
    read = labels.labelled(y_true, p, sample_weight)
    size = read.probabilities.shape[-1]
    if size != 2:
        raise ValueError(
            "`event` must be 'error' or 'ood' for a prediction of more than 2 "
            f"classes. Received: event='label' and {size} classes. For one "
            "class k against all others: auroc(y == k, p.mean[:, k])"
        )
    return Ranked(read.labels == 1, read.probabilities[:, 1], read.rows)


def _errors(y_true: Any, p: Any, by: Any, sample_weight: Any) -> Ranked:
    read = labels.labelled(y_true, p, sample_weight)
    wrong = np.argmax(read.probabilities, axis=-1) != read.labels
    return Ranked(wrong, score_of_labels(by, p, read), read.rows)


def _outside(y_true: Any, p: Any, by: Any, sample_weight: Any) -> Ranked:
    found = _scores("by", p, by) if by is None or isinstance(by, str) else by
    found = np.ma.asarray(rows.array("by", found))
    is_ood = rows.array("y_true", y_true)
    places = over_places(is_ood, found.shape)
    if places is None:
        raise ValueError(
            "`y_true` must be one boolean for each row, or for each place of "
            f"the scores, {found.shape}. Received: y_true of shape "
            f"{is_ood.shape}"
        )
    is_ood = np.ma.array(
        np.broadcast_to(places, found.shape),
        mask=np.ma.getmaskarray(found)
        | np.broadcast_to(np.ma.getmaskarray(places), found.shape),
    )
    return rows.ranked(is_ood, found.data, sample_weight, ("y_true", "by"))


_READERS: dict[str, Callable[..., Ranked]] = {
    "label": _labels,
    "error": _errors,
    "ood": _outside,
}


def _score(
    of: Callable[[Found], float],
    read: Ranked,
    n_boot: int | None,
    seed: int | None,
    level: float,
) -> float:
    def statistic(weights: Array) -> float:
        found = ranking_curves.found(read.is_positive, read.score, weights)
        # A resample may have no positive, or no negative.
        is_defined = len(found.hits) and found.hits[-1] and found.alarms[-1]
        return of(found) if is_defined else np.nan

    return bootstrap.estimate(statistic, read.rows, n_boot, seed, level)
