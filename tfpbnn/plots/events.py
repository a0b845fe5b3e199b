"""Plots probabilities of labels against what came."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfpbnn.metrics import labels as reading
from tfpbnn.plots.style import (
    BLUE,
    GREY,
    check_bins,
    check_kind,
    effective,
    finish,
    new_axes,
    wilson,
)

# Names of so many letters are beside each other below a matrix.
_LETTERS = 6


def event_calibration(
    predictive: Any,
    y: Any,
    *,
    event: int = 1,
    num_bins: int = 10,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots how often an event came against the probability it was given.

    A row is a forecast of the event "the label is `event`". Of the rows to
    which a calibrated model gave a probability of 20 %, a fifth have it: its
    dots lie on the diagonal. Each dot is a bin of rows, at their mean
    probability; its line is the 95 % interval of the frequency (Wilson's). The
    bars below, on the axis to the right, count the rows of each bin.

    Args:
        predictive: a classification prediction of N rows.
        y: the labels, one row for each predicted row.
        event: the class whose probability is looked at; 1 is "yes" of
            yes-or-no models.
        num_bins: the number of bins of equal width.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no classification prediction.
        ValueError: if `num_bins` is not positive, or there is no such class.

    Example:
    ```python
    figure = tfpbnn.plots.event_calibration(p, y_test)
    ```

    Reference:
        [Niculescu-Mizil and Caruana, 2005](https://doi.org/10.1145/1102351.1102430)
    """
    check_kind(predictive, "classification", "confidence")
    check_bins(num_bins)
    found = reading.labelled(y, predictive, sample_weight)
    num_classes = found.probabilities.shape[-1]
    if event not in range(num_classes):
        raise ValueError(
            f"`event` must be a class from 0 to {num_classes - 1}. Received: "
            f"event={event!r}"
        )
    p, came = found.probabilities[:, event], found.labels == event
    weights = found.rows.weights
    ax = new_axes(ax, (4.6, 4.9))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="calibrated")
    which = np.clip((p * num_bins).astype(int), 0, num_bins - 1)
    for index in np.unique(which):
        inside = which == index
        w = weights[inside]
        share = np.average(came[inside], weights=w)
        low, high = wilson(share, effective(w))
        middle = np.average(p[inside], weights=w)
        ax.plot([middle, middle], [low, high], color="black", linewidth=1)
        ax.plot(
            middle,
            share,
            "o",
            color=BLUE,
            label="observed" if index == which.min() else None,
        )
    _counts(ax, p, num_bins)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    name = f"probability of class {event}"
    return finish(ax, name, "frequency (dots, 95 % interval)", title)


def _counts(ax: Any, p: Any, num_bins: int) -> None:
    """Draws how many rows there are of each probability, on an axis of its own.

    The bars fill the lowest quarter, behind the rest.
    """
    counts = ax.twinx()
    heights, *_ = counts.hist(
        p,
        np.linspace(0, 1, num_bins + 1),
        color=GREY,
        alpha=0.35,
        edgecolor="white",
    )
    counts.set_ylim(0, 4 * max(heights.max(), 1))
    counts.set_yticks([0, heights.max()])
    counts.set_ylabel("rows (bars)", loc="bottom")
    counts.spines["top"].set_visible(False)
    ax.set_zorder(counts.get_zorder() + 1)
    ax.patch.set_visible(False)


def confusion_by_confidence(
    predictive: Any,
    y: Any,
    *,
    threshold: float = 0.9,
    class_names: Sequence[str] | None = None,
    sample_weight: Any = None,
    title: str | None = None,
) -> Any:
    """Plots which labels are taken for which, apart for sure and unsure rows.

    The left matrix has the rows whose top probability is at least `threshold`,
    the right one the others. Numbers are rows (or sums of weights); shades are
    shares of the label's row in that matrix. Errors on the left are the ones to
    worry about.

    Args:
        predictive: a classification prediction of N rows.
        y: the labels, one row for each predicted row.
        threshold: the least top probability of sure rows.
        class_names: the names of the K classes.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the figure.

    Returns:
        The matplotlib figure, which has two axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no classification prediction.
        ValueError: if there are not K names.

    Example:
    ```python
    figure = tfpbnn.plots.confusion_by_confidence(p, y_test, threshold=0.9)
    ```
    """
    check_kind(predictive, "classification", "confidence")
    found = reading.labelled(y, predictive, sample_weight)
    size = found.probabilities.shape[-1]
    names = (
        [str(i) for i in range(size)] if class_names is None else class_names
    )
    if len(names) != size:
        raise ValueError(
            f"`class_names` must have a name for each of the {size} classes. "
            f"Received: {len(names)} names"
        )
    sure = found.probabilities.max(axis=-1) >= threshold
    room = _turned(names)
    height = 2.3 + 0.4 * size + room
    figure = new_axes(None, (3.0 + 0.8 * size + room, height)).figure
    figure.clear()
    axes = figure.subplots(1, 2, sharey=True)
    for ax, inside, name in zip(
        axes, [sure, ~sure], ["sure", "unsure"], strict=True
    ):
        index = found.labels * size + found.probabilities.argmax(axis=-1)
        sums = np.bincount(
            index[inside], found.rows.weights[inside], size * size
        ).reshape(size, size)
        _matrix(ax, sums, names)
        bound = "≥" if name == "sure" else "<"
        ax.set_title(
            f"{name}: {np.sum(inside)} rows\n"
            f"(top probability {bound} {threshold:g})",
            fontsize="small",
        )
    axes[0].set_ylabel("label")
    if title:
        figure.suptitle(title)
    return figure


def _turned(names: Sequence[str]) -> float:
    """How much room below names need, in inches, since they are turned."""
    longest = max(len(name) for name in names)
    return 0.1 * longest if longest > _LETTERS else 0.0


def _matrix(ax: Any, sums: Any, names: Sequence[str]) -> None:
    """Draws one matrix, with numbers that are legible on their shade."""
    shares = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(sums):
        if value:
            ax.text(
                column,
                row,
                f"{value:.4g}",
                ha="center",
                va="center",
                fontsize="small",
                color="white" if shares[row, column] > 0.5 else "black",
            )
    turned = 90 if _turned(names) else 0
    ax.set_xticks(range(len(names)), names, rotation=turned)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
