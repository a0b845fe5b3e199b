"""Plots the errors of predicted numbers against what was said of them."""

from typing import Any

import numpy as np

from tfpbnn.metrics import numbers
from tfpbnn.plots.calibration import pits
from tfpbnn.plots.style import (
    BLUE,
    GREY,
    HATCHES,
    ORANGE,
    check_bins,
    check_kind,
    counted,
    effective,
    finish,
    new_axes,
)


def pit_histogram(
    predictive: Any,
    y: Any,
    *,
    num_bins: int = 20,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots where targets fell in their predicted distributions.

    The PIT of a target is the probability that was given to values up to it.
    Of a calibrated prediction all are as likely, and the bars are level but for
    chance: 95 % of them end in the grey band. A U means that predictions are
    too narrow (overconfident), a hump that they are too wide, a slope that they
    are too low or too high.

    Args:
        predictive: a regression prediction of N rows.
        y: the observed targets, `[N]` or `[N, k]`.
        num_bins: the number of bins.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no regression prediction.

    Example:
    ```python
    figure = tfpbnn.plots.pit_histogram(p, y_test)
    ```

    Reference:
        [Gneiting et al., 2007](https://doi.org/10.1111/j.1467-9868.2007.00587.x)
    """
    check_kind(predictive, "regression", "pit")
    check_bins(num_bins)
    pit, weights = pits(predictive, y, sample_weight)
    ax = new_axes(ax, (5.4, 3.8))
    shares = np.full(num_bins, 1 / num_bins)
    count = effective(weights)
    half = 1.96 * np.sqrt(shares[0] * (1 - shares[0]) / count) * num_bins
    ax.axhspan(
        max(0.0, 1 - half),
        1 + half,
        color=GREY,
        alpha=0.25,
        linewidth=0,
        label="calibrated, 95 % of chance",
    )
    ax.axhline(1, color=GREY, linewidth=1)
    ax.hist(
        pit,
        np.linspace(0, 1, num_bins + 1),
        weights=weights * num_bins / np.sum(weights),
        facecolor=BLUE,
        alpha=0.7,
        edgecolor="white",
        label="targets",
    )
    ax.set_xlim(0, 1)
    return finish(ax, "PIT: predicted P(target ≤ observed)", "density", title)


def error_by_stddev(
    predictive: Any,
    y: Any,
    *,
    num_bins: int = 10,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots the errors of targets against their predicted standard deviation.

    Dots are targets. The line is the root mean squared error in bins with as
    many targets each. If standard deviations are right it lies on the diagonal;
    above it predictions are overconfident. A flat line means that the standard
    deviation does not tell good predictions from bad ones.

    Args:
        predictive: a regression prediction of N rows.
        y: the observed targets, `[N]` or `[N, k]`.
        num_bins: the number of bins of the line.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no regression prediction.

    Example:
    ```python
    figure = tfpbnn.plots.error_by_stddev(p, y_test)
    ```

    Reference:
        [Levi et al., 2022](https://arxiv.org/abs/1905.11659)
    """
    check_kind(predictive, "regression", "pit")
    read = numbers.places(y, predictive, sample_weight)
    stddev = np.ravel(read.predictive.stddev)
    error = np.ravel(np.abs(read.y - read.predictive.mean))
    weights = read.rows(read.y).weights
    ax = new_axes(ax, (5.0, 4.6))
    ax.plot(
        stddev,
        error,
        ".",
        color=BLUE,
        markersize=3,
        alpha=float(np.clip(20 / error.size**0.5, 0.15, 0.7)),
        label="targets",
    )
    ends = stddev.min(), stddev.max()
    ax.plot(ends, ends, color=GREY, linewidth=1, label="calibrated")
    middles, rms = _binned(stddev, error, weights, num_bins)
    ax.plot(middles, rms, "o-", color="black", markersize=4, label="RMSE")
    return finish(ax, "predicted standard deviation", "|error|", title)


def _binned(stddev: Any, error: Any, weights: Any, num_bins: int) -> Any:
    """Computes root mean squares of both, in bins with as many targets."""
    order = np.argsort(stddev, kind="stable")
    bins = [part for part in np.array_split(order, num_bins) if part.size]

    def rms(values: Any) -> list[float]:
        return [
            float(np.average(values[b] ** 2, weights=weights[b]) ** 0.5)
            for b in bins
        ]

    return rms(stddev), rms(error)


def variance_split(
    predictive: Any,
    *,
    target: int = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots what the predicted variance of each row consists of.

    Rows are in the order of their predicted variance. The lower part is noise
    (aleatoric), which more data would not take away; the upper part is what the
    model does not know (epistemic).

    Args:
        predictive: a regression prediction of N rows.
        target: the index of the target, of k.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no regression prediction.

    Example:
    ```python
    figure = tfpbnn.plots.variance_split(p)
    ```

    Reference:
        [Kendall and Gal, 2017](https://arxiv.org/abs/1703.04977)
    """
    check_kind(predictive, "regression", "pit")
    noise, unknown = (
        np.ravel(counted(predictive, part)[..., target])
        for part in (
            predictive.aleatoric_variance,
            predictive.epistemic_variance,
        )
    )
    order = np.argsort(noise + unknown, kind="stable")
    ax = new_axes(ax)
    # Each row is as wide as the others, the last one too.
    x, order = np.arange(len(order) + 1), np.append(order, order[-1:])
    parts = [
        (np.zeros_like(noise), noise, BLUE, "noise (aleatoric)"),
        (noise, noise + unknown, ORANGE, "not known (epistemic)"),
    ]
    for i, (low, high, color, label) in enumerate(parts):
        ax.fill_between(
            x,
            low[order],
            high[order],
            step="post",
            facecolor=color,
            alpha=0.7,
            hatch=HATCHES[i],
            edgecolor="white",
            linewidth=0,
            label=label,
        )
    ax.set_ylim(bottom=0)
    return finish(ax, "rows, by predicted variance", "variance", title)
