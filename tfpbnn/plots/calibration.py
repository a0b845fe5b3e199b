"""Plots predicted against observed frequencies."""

from typing import Any

import numpy as np

from tfpbnn.plots.style import (
    BLUE,
    GREY,
    check_kind,
    counted,
    effective_count,
    finish,
    new_axes,
    weighed,
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
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`; the
            band is then that of as many rows as these are worth, (sum w)^2 /
            sum w^2.
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
    predictive, y, weights = weighed(predictive, y, sample_weight)
    ax = new_axes(ax, (4.6, 4.6))
    pit = counted(predictive, predictive.pit(y))
    weights = np.ones(pit.shape) if weights is None else weights[:, None]
    weights = np.ravel(np.broadcast_to(weights, pit.shape))
    levels = np.linspace(0, 1, 101)
    below = np.ravel(pit)[:, None] <= levels
    observed = np.average(below, axis=0, weights=weights)
    spread = 1.96 * np.sqrt(levels * (1 - levels) / effective_count(weights))
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
    the 95 % interval of its accuracy (Wilson's); the shade of a bar is its
    share of the rows. Places that are masked, or have a label that the
    likelihood ignores, are left out.

    Args:
        predictive: a classification prediction of N rows.
        y: the labels, one row for each predicted row.
        num_bins: the number of bins.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`; lines
            are then those of as many rows as these are worth.
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
    if num_bins < 1:
        raise ValueError(
            f"`num_bins` must be positive. Received: num_bins={num_bins!r}"
        )
    check_kind(predictive, "classification", "confidence")
    predictive, y, weights = weighed(predictive, y, sample_weight)
    ax = new_axes(ax, (4.6, 4.6))
    confidence, right = predictive.confidence(y)
    weights = predictive.confidence_weights(y, weights)
    edges = np.linspace(0, 1, num_bins + 1)
    which = np.clip(np.digitize(confidence, edges) - 1, 0, num_bins - 1)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="calibrated")
    for index in np.unique(which):
        inside = which == index
        own = weights[inside]
        share = np.average(right[inside], weights=own)
        low, high = _wilson(share, effective_count(own))
        ax.bar(
            edges[index],
            share,
            width=1 / num_bins,
            align="edge",
            color=BLUE,
            alpha=0.15 + 0.7 * own.sum() / weights.sum(),
            edgecolor="white",
        )
        middle = np.average(confidence[inside], weights=own)
        ax.plot([middle, middle], [low, high], color="black", linewidth=1)
        ax.plot(middle, share, "o", color="black", markersize=3)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    return finish(ax, "confidence", "accuracy", title)


def _wilson(share: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Computes Wilson's interval of a binomial proportion."""
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = (
        z
        * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
        / (1 + z**2 / count)
    )
    return center - half, center + half
