"""Plots how well uncertainty says which rows to trust."""

from typing import Any

import numpy as np

from tfpbnn import metrics
from tfpbnn.metrics import losses as reading
from tfpbnn.metrics import ranking_curves, rows
from tfpbnn.plots.style import (
    BLUE,
    GREY,
    GROUPS,
    HATCHES,
    LINES,
    ORANGE,
    each_of,
    finish,
    new_axes,
)


def risk_coverage(
    predictive: Any,
    y: Any,
    *,
    loss: str | None = None,
    by: Any = None,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots the error of the rows that are kept, if the others are referred.

    Rows are kept from the surest on. Read it from the right: at 1 all rows are
    kept; at 0.8 the fifth that the model is least sure of has been handed to
    someone else, and the curve tells the error of the rest. The lower line is
    the best that an order could do; a level curve is one that uncertainty does
    not help.

    Args:
        predictive: a prediction of N rows, or a mapping of several by name.
        y: the targets, one row for each predicted row.
        loss, by: see `tfpbnn.metrics.risk_coverage_curve`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if the loss does not fit the prediction.

    Example:
    ```python
    figure = tfpbnn.plots.risk_coverage({"ensemble": p, "dropout": q}, y_test)
    ```

    Reference:
        [Geifman and El-Yaniv, 2017](https://arxiv.org/abs/1705.08500)
    """
    ax = new_axes(ax)
    groups = each_of(predictive)
    for i, (name, p) in enumerate(groups.items()):
        curve = metrics.risk_coverage_curve(
            y, p, loss=loss, by=by, sample_weight=sample_weight
        )
        color = GROUPS[i % len(GROUPS)]
        ax.plot(
            curve.coverage,
            curve.risk,
            linestyle=LINES[i % len(LINES)],
            color=color,
            clip_on=False,  # without errors it is on the axis
            label=name or "by uncertainty",
        )
        if len(groups) == 1:
            best = reading.losses(y, p, loss, None, sample_weight)
            lowest = ranking_curves.risk_coverage(
                best.loss, best.loss, best.rows.weights
            )
            ax.plot(
                lowest.coverage,
                lowest.risk,
                color=GREY,
                linestyle=":",
                label="best order",
            )
            ax.axhline(
                curve.risk[-1], color=GREY, linewidth=1, label="at random"
            )
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    first = next(iter(groups.values()))
    names = {"error": "error rate", "nll": "NLL (nats)"}
    kind = "error" if hasattr(first, "confidence") else "squared error"
    name = loss.replace("_", " ") if loss else kind
    return finish(
        ax, "share of rows kept", f"{names.get(name, name)} of these", title
    )


def out_of_distribution(
    inside: Any,
    outside: Any,
    *,
    by: Any = None,
    title: str | None = None,
) -> Any:
    """Plots how well uncertainty tells other data from those of training.

    On the left there are histograms of the uncertainty, for data like those of
    training and for others. On the right there is the ROC: which share of the
    others is found (up) at the cost of which share of false alarms (right). The
    area below it is the probability that one of the others is more uncertain
    than one that is not.

    Args:
        inside: a prediction of data like those of training, or an array of
            their uncertainties.
        outside: the same for other data.
        by: a name of `tfpbnn.metrics.uncertainty`; None for its default.
        title: the title of the figure.

    Returns:
        The matplotlib figure, which has two axes.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
    ```python
    figure = tfpbnn.plots.out_of_distribution(p, q)
    ```

    Reference:
        [Hendrycks and Gimpel, 2017](https://arxiv.org/abs/1610.02136)
    """
    is_ood, score = metrics.in_and_out(inside, outside, by=by)
    is_ood, score, _ = rows.ranked(is_ood, score)
    figure = new_axes(None, (8.6, 4.0)).figure
    figure.clear()
    left, right = figure.subplots(1, 2)
    bins = np.histogram_bin_edges(score, 30)
    name = by if isinstance(by, str) else "uncertainty"
    for which, color, hatch, label in [
        (~is_ood, BLUE, HATCHES[0], "like training"),
        (is_ood, ORANGE, HATCHES[1], "other data"),
    ]:
        left.hist(
            score[which],
            bins,
            density=True,
            facecolor=color,
            alpha=0.55,
            edgecolor="white",
            hatch=hatch,
            label=label,
        )
    finish(left, name.replace("_", " "), "density", None)
    found = ranking_curves.found(is_ood, score, np.ones(score.shape))
    auroc = ranking_curves.auroc(found)
    right.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="at random")
    right.plot(
        np.append(0, found.alarms / found.alarms[-1]),
        np.append(0, found.hits / found.hits[-1]),
        color=BLUE,
        label=f"AUROC {auroc:.3f}",
    )
    right.set_aspect("equal")
    finish(right, "false alarms", "other data found", None)
    if title:
        figure.suptitle(title)
    return figure
