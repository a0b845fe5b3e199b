"""Plots predicted against observed frequencies."""

from typing import Any

import numpy as np

from tfpbnn import metrics
from tfpbnn.metrics import numbers
from tfpbnn.metrics.labels import labelled
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


def calibration_curve(
    predictive: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots how often targets fell below their predicted quantiles.

    A calibrated prediction lies on the diagonal. The grey band holds, at each
    level, the curve of a calibrated prediction of as many rows with a
    probability of 95 %. Places that the prediction's mask leaves out are left
    out here too.

    Args:
        predictive: a regression prediction of N rows.
        y: the observed targets, `[N]` or `[N, k]`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no regression prediction.
        ValueError: if the weights don't fit the rows, or are negative.

    Example:
    ```python
    figure = tfpbnn.plots.calibration_curve(p, y_test)
    ```

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)
    """
    check_kind(predictive, "regression", "pit")
    ax = new_axes(ax, (4.6, 4.6))
    pit, weights = pits(predictive, y, sample_weight)
    levels = np.linspace(0, 1, 101)
    observed = np.average(pit[:, None] <= levels, axis=0, weights=weights)
    spread = 1.96 * np.sqrt(levels * (1 - levels) / effective(weights))
    ax.fill_between(
        levels,
        np.clip(levels - spread, 0, 1),
        np.clip(levels + spread, 0, 1),
        color=GREY,
        alpha=0.25,
        linewidth=0,
        label="calibrated, 95 % of chance",
    )
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    ax.plot(levels, observed, color=BLUE, label="observed")
    ax.set_aspect("equal")
    return finish(ax, "predicted level", "share of targets below", title)


def reliability_diagram(
    predictive: Any,
    y: Any,
    *,
    num_bins: int = 10,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots the accuracy against the confidence, in bins of equal width.

    Bars of a calibrated prediction end on the diagonal. The line of a bar is
    the 95 % interval of its accuracy (Wilson's); the number in its foot counts
    its rows, and its shade is their share. Places that are masked, or have a
    label that the likelihood ignores, are left out.

    Args:
        predictive: a classification prediction of N rows.
        y: the labels, one row for each predicted row.
        num_bins: the number of bins.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no classification prediction.
        ValueError: if `num_bins` is not positive, or if the weights don't fit
            the rows or are negative.

    Example:
    ```python
    figure = tfpbnn.plots.reliability_diagram(p, y_test)
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    check_bins(num_bins)
    check_kind(predictive, "classification", "confidence")
    found = labelled(y, predictive, sample_weight)
    ax = new_axes(ax, (4.6, 4.6))
    confidence = found.probabilities.max(axis=-1)
    right = found.probabilities.argmax(axis=-1) == found.labels
    which = np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="calibrated")
    for index in np.unique(which):
        inside = which == index
        weights = found.rows.weights[inside]
        share = np.average(right[inside], weights=weights)
        ax.bar(
            index / num_bins,
            share,
            width=1 / num_bins,
            align="edge",
            color=BLUE,
            alpha=0.15 + 0.5 * weights.sum() / found.rows.weights.sum(),
            edgecolor="white",
        )
        middle = np.average(confidence[inside], weights=weights)
        ends = wilson(share, effective(weights))
        ax.plot([middle, middle], ends, color="black", linewidth=1)
        ax.plot(middle, share, "o", color="black", markersize=3)
        # How many rows there are, in the foot of their bar.
        ax.text(
            (index + 0.5) / num_bins,
            0.015,
            str(inside.sum()),
            ha="center",
            fontsize="x-small" if num_bins <= 12 else "xx-small",
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    return finish(ax, "confidence", "accuracy (numbers are rows)", title)


def pits(predictive: Any, y: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Computes the PIT of the targets that count, and their weights."""
    read = numbers.places(y, predictive, sample_weight)
    pit = metrics.pit(y, predictive, sample_weight=sample_weight)
    return pit, read.rows(read.y).weights
