"""Plots predictions, and how uncertain they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfpbnn.metrics import rows
from tfpbnn.plots.style import (
    BLUE,
    GROUPS,
    HATCHES,
    ORANGE,
    check_finite,
    check_kind,
    counted,
    finish,
    new_axes,
    widened,
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
    """Plots the predictive mean with its central intervals.

    Args:
        predictive: a regression prediction of N rows.
        x: the positions on the horizontal axis, `[N]` in any order, or
            `[N, ...]` where rows have steps; None orders the rows by their
            predicted mean. Places that the prediction's mask leaves out are
            not drawn.
        y: the observed targets, `[N]` or `[N, k]`, drawn as points.
        levels: the probabilities of the intervals.
        target: the index of the target to draw, of k.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no regression prediction.
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
    line = [x[order], mean[order]]
    shades = np.linspace(0.18, 0.4, len(levels))
    for level, shade in zip(sorted(levels, reverse=True), shades, strict=True):
        lower, upper = (
            _of_target(predictive, end, target)
            for end in predictive.interval(level)
        )
        ax.fill_between(
            *widened(line[0], lower[order], upper[order]),
            color=BLUE,
            alpha=shade,
            linewidth=0,
            label=f"{level:.0%} interval",
        )
    ax.plot(*widened(*line), color=BLUE, label="mean")
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
    """Plots what each member of an ensemble, or draw of the weights, predicts.

    Where the lines part, the members disagree; this is the epistemic
    uncertainty.

    Args:
        predictive: a prediction of N rows. Draws of weights should be made with
            `draws="coherent"`: else each row has its own, and lines jump.
        x: the positions on the horizontal axis, `[N]` in any order, or
            `[N, ...]` where rows have steps; None orders the rows by their
            predicted mean. Places that the prediction's mask leaves out are
            not drawn.
        y: the observed targets, `[N]` or `[N, k]`, drawn as points.
        max_members: the number of draws to plot, the first ones.
        target: the index of the target, or class, to draw, of k.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no prediction.
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
            *widened(x[order], member[order]),
            color=BLUE,
            alpha=shade,
            linewidth=1,
            label="members" if number == 0 else None,
        )
    ax.plot(
        *widened(x[order], mean[order]),
        color=ORANGE,
        linewidth=2,
        label="mean",
    )
    if y is not None:
        observed = _observed(predictive, y, target)
        ax.plot(x, observed, ".", color="black", markersize=3, label="observed")
    return finish(ax, label, "prediction", title)


def _of_target(predictive: Any, values: Any, target: int) -> Any:
    """Takes one target's values at the places that count, `[n]`."""
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
    """Finds where rows are drawn, in which order, and the axis's label."""
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
    check_finite("x", x)
    return x, np.argsort(x, kind="stable"), label


def uncertainty_histogram(
    predictive: Any,
    *,
    sample_weight: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots a histogram of the epistemic uncertainty of the rows.

    Args:
        predictive: a prediction, or a dict of predictions by the name of their
            group (such as seen and unseen classes), which are overlaid. The
            uncertainty is the mutual information for classification, and the
            epistemic standard deviation for regression.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`, or a
            dict of such by the names of the groups.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if the weights don't fit the rows, or are negative, or those
            of several groups come without names.

    Example:
    ```python
    figure = tfpbnn.plots.uncertainty_histogram({"seen": p, "unseen": q})
    ```
    """
    ax = new_axes(ax)
    named = isinstance(predictive, Mapping)
    groups = predictive if named else {"": predictive}
    given = _weights_by_group(groups, sample_weight, named)
    label, values, weights = "", {}, {}
    for name, group in groups.items():
        own, row, kept = rows.counted(
            given.get(name), group.mean.shape[:-1], group.mask
        )
        if hasattr(group, "mutual_information"):
            label = "mutual information (nats)"
            found = group.mutual_information[kept]
        else:
            label = "epistemic standard deviation"
            found = np.sqrt(group.epistemic_variance[kept])
        check_finite("predictive", found)
        values[name] = np.ravel(found)
        weights[name] = rows.flat(own, row, found).weights
    bins = np.histogram_bin_edges(np.concatenate(list(values.values())), 40)
    for i, (name, group) in enumerate(values.items()):
        ax.hist(
            group,
            bins,
            weights=weights[name],
            density=True,
            facecolor=GROUPS[i % len(GROUPS)],
            alpha=0.55,
            edgecolor="white",
            hatch=HATCHES[i % len(HATCHES)],
            linewidth=0,
            label=name or None,
        )
    return finish(ax, label, "density of rows", title)


def _weights_by_group(
    groups: Mapping[str, Any], sample_weight: Any, named: bool
) -> Mapping[str, Any]:
    """Finds the weights of each group, by its name."""
    if not named:
        return {"": sample_weight}
    if sample_weight is None:
        return {}
    if not isinstance(sample_weight, Mapping) or set(sample_weight) - set(
        groups
    ):
        raise ValueError(
            "`sample_weight` must be a dict by the names of the groups, "
            f"{list(groups)}. Received: sample_weight={sample_weight!r}"
        )
    return sample_weight
