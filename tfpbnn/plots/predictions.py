"""Predictions, and how uncertain they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfpbnn.plots.style import (
    BLUE,
    GROUPS,
    ORANGE,
    check_kind,
    counted,
    finish,
    new_axes,
)


def predictive_band(
    predictive: Any,
    x: Any = None,
    y: Any = None,
    *,
    levels: Sequence[float] = (0.5, 0.9),
    target: int = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """The predictive mean with its central intervals.

    Args:
        predictive: a regression prediction of N rows.
        x: `[N]` positions on the horizontal axis, in any order, or `[N, ...]`
            where rows have steps; None orders the rows by their predicted mean.
            Places that the prediction's mask leaves out are not drawn.
        y: observed targets, `[N]` or `[N, k]`, drawn as points.
        levels: probabilities of the intervals, the narrowest first.
        target: which of k targets to draw.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if it is no such prediction.
        ValueError: if x or y do not have one number for each row.

    Example:
    ```python
    figure = tfpbnn.plots.predictive_band(p, x_test, y_test)
    figure.savefig("band.png")
    ```
    """
    check_kind(predictive, "regression", "interval")
    ax = new_axes(ax)
    mean = _of_target(predictive, predictive.mean, target)
    x, order, label = _positions(predictive, x, mean)
    shades = np.linspace(0.18, 0.4, len(levels))
    for level, shade in zip(sorted(levels, reverse=True), shades, strict=True):
        lower, upper = (
            _of_target(predictive, end, target)
            for end in predictive.interval(level)
        )
        ax.fill_between(
            x[order],
            lower[order],
            upper[order],
            color=BLUE,
            alpha=shade,
            linewidth=0,
            label=f"{level:.0%} interval",
        )
    ax.plot(x[order], mean[order], color=BLUE, label="mean")
    if y is not None:
        observed = _observed(predictive, y, target)
        ax.plot(x, observed, ".", color="black", markersize=3, label="observed")
    return finish(ax, label, "target", title)


def member_predictions(
    predictive: Any,
    x: Any = None,
    y: Any = None,
    *,
    max_members: int = 50,
    target: int = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """What each member of an ensemble, or draw of the weights, predicts.

    Where the lines part the members disagree: the epistemic uncertainty.

    Args:
        predictive: a prediction of N rows; of draws of weights made with
            draws="coherent", else rows have draws of their own and lines jump.
        x: `[N]` positions on the horizontal axis, in any order, or `[N, ...]`
            where rows have steps; None orders the rows by their predicted mean.
            Places that the prediction's mask leaves out are not drawn.
        y: observed targets, `[N]` or `[N, k]`, drawn as points.
        max_members: how many of the draws get a line; the first ones.
        target: which of k targets, or classes, to draw.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if it is no such prediction.
        ValueError: if x or y do not have one number for each row.

    Example:
    ```python
    figure = tfpbnn.plots.member_predictions(p, x_test, y_test)
    figure.savefig("members.png")
    ```
    """
    check_kind(predictive, "regression or classification", "draw_means")
    ax = new_axes(ax)
    mean = _of_target(predictive, predictive.mean, target)
    x, order, label = _positions(predictive, x, mean)
    members = [
        _of_target(predictive, means, target)
        for means in predictive.draw_means[:max_members]
    ]
    shade = min(0.8, max(0.15, 4 / len(members)))
    for number, member in enumerate(members):
        ax.plot(
            x[order],
            member[order],
            color=BLUE,
            alpha=shade,
            linewidth=1,
            label="members" if number == 0 else None,
        )
    ax.plot(x[order], mean[order], color=ORANGE, linewidth=2, label="mean")
    if y is not None:
        observed = _observed(predictive, y, target)
        ax.plot(x, observed, ".", color="black", markersize=3, label="observed")
    return finish(ax, label, "prediction", title)


def _of_target(predictive: Any, values: Any, target: int) -> Any:
    """One target's values at the places that count, `[n]` of `[N, ..., k]`."""
    return np.ravel(counted(predictive, values)[..., target])


def _observed(predictive: Any, y: Any, target: int) -> Any:
    y, shape = np.asarray(y), predictive.mean.shape
    if y.ndim == 0 or len(y) != shape[0]:
        raise ValueError(
            f"`y` must have one row for each of the {shape[0]} rows. Received: "
            f"y of shape {y.shape}"
        )
    return _of_target(predictive, np.reshape(y, [*shape[:-1], -1]), target)


def _positions(predictive: Any, x: Any, mean: Any) -> tuple[Any, Any, str]:
    """Where rows are drawn, in which order, and what the axis is called."""
    label = "x"
    if x is None:
        x = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        label = "rows, by predicted mean"
    else:
        x = np.asarray(x)
        # One number for each place, of which those that count are drawn.
        places = predictive.mean.shape[:-1]
        if x.size == np.prod(places):
            x = counted(predictive, np.reshape(x, places))
    x = np.ravel(x)
    if x.shape != mean.shape:
        raise ValueError(
            f"`x` must have one number for each of the {len(mean)} rows. "
            f"Received: {x.size} numbers"
        )
    return x, np.argsort(x, kind="stable"), label


def uncertainty_histogram(
    predictive: Any,
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """How uncertain the rows are, epistemically; groups are overlaid.

    Args:
        predictive: a prediction, or a dict of them by the name of the group
            (such as seen and unseen classes). Classification shows mutual
            information, regression the epistemic standard deviation.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
    ```python
    figure = tfpbnn.plots.uncertainty_histogram({"seen": p, "unseen": q})
    ```
    """
    ax = new_axes(ax)
    named = isinstance(predictive, Mapping)
    groups = predictive if named else {"": predictive}
    label, values = "", {}
    for name, group in groups.items():
        if hasattr(group, "mutual_information"):
            label = "mutual information (nats)"
            information = counted(group, group.mutual_information)
            values[name] = np.ravel(information)
        else:
            label = "epistemic standard deviation"
            variance = counted(group, group.epistemic_variance)
            values[name] = np.ravel(np.sqrt(variance))
    bins = np.histogram_bin_edges(np.concatenate(list(values.values())), 40)
    for (name, group), color in zip(
        values.items(), GROUPS * len(values), strict=False
    ):
        ax.hist(
            group,
            bins,
            density=True,
            color=color,
            alpha=0.55,
            label=name or None,
        )
    return finish(ax, label, "density of rows", title)
