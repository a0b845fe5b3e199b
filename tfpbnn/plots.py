"""Figures of predictions: arrays in, a matplotlib figure out.

The functions take any object with the methods of a `tfpbnn.Predictive`. They
need matplotlib: `pip install tfpbnn[plots]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9822b", "#8a8f98"
_GROUPS = (_BLUE, _ORANGE, "#3a8f5c", "#8d4fa8", _GREY)


def _axes(ax: Any, figsize: tuple[float, float] = (6.0, 4.0)) -> Any:
    """The given axes, or those of a new figure outside of pyplot's list."""
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "tfpbnn.plots needs matplotlib: pip install tfpbnn[plots]"
        ) from error
    return Figure(figsize=figsize, layout="constrained").add_subplot()


def _finish(
    ax: Any, xlabel: str, ylabel: str, title: str | None, **legend: Any
) -> Any:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, **legend)
    return ax.figure


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
        x: `[N]` positions on the horizontal axis, in any order; None orders the
            rows by their predicted mean.
        y: observed targets, `[N]` or `[N, k]`, drawn as points.
        levels: probabilities of the intervals, the narrowest first.
        target: which of k targets to draw.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if x does not have one number for each row.

    Example:
    ```python
    figure = tfpbnn.plots.predictive_band(p, x_test, y_test)
    figure.savefig("band.png")
    ```
    """
    ax = _axes(ax)
    mean = predictive.mean[:, target]
    label = "x"
    if x is None:
        x = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        label = "rows, by predicted mean"
    x = np.ravel(np.asarray(x))
    if x.shape != mean.shape:
        raise ValueError(
            f"`x` must have one number for each of the {len(mean)} rows. "
            f"Received: {x.size} numbers"
        )
    order = np.argsort(x, kind="stable")
    shades = np.linspace(0.18, 0.4, len(levels))
    for level, shade in zip(sorted(levels, reverse=True), shades, strict=True):
        lower, upper = predictive.interval(level)
        ax.fill_between(
            x[order],
            lower[order, target],
            upper[order, target],
            color=_BLUE,
            alpha=shade,
            linewidth=0,
            label=f"{level:.0%} interval",
        )
    ax.plot(x[order], mean[order], color=_BLUE, label="mean")
    if y is not None:
        observed = np.reshape(np.asarray(y), [len(mean), -1])[:, target]
        ax.plot(x, observed, ".", color="black", markersize=3, label="observed")
    return _finish(ax, label, "target", title)


def calibration_curve(
    predictive: Any,
    y: Any,
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """How often targets fell below their predicted quantiles.

    On the diagonal the prediction is calibrated. The grey band holds 95 % of
    what chance does to a calibrated prediction of as many rows, at each level.

    Args:
        predictive: a regression prediction of N rows.
        y: observed targets, `[N]` or `[N, k]`.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
    ```python
    figure = tfpbnn.plots.calibration_curve(p, y_test)
    ```

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)
    """
    ax = _axes(ax, (4.6, 4.6))
    pit = np.ravel(predictive.pit(y))
    levels = np.linspace(0, 1, 101)
    observed = np.mean(pit[:, None] <= levels, axis=0)
    spread = 1.96 * np.sqrt(levels * (1 - levels) / pit.size)
    ax.fill_between(
        levels,
        np.clip(levels - spread, 0, 1),
        np.clip(levels + spread, 0, 1),
        color=_GREY,
        alpha=0.25,
        linewidth=0,
        label="calibrated, 95 % of chance",
    )
    ax.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    ax.plot(levels, observed, color=_BLUE, label="observed")
    ax.set_aspect("equal")
    return _finish(ax, "predicted level", "share of targets below", title)


def reliability_diagram(
    predictive: Any,
    y: Any,
    *,
    num_bins: int = 10,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Accuracy against confidence, in bins of equal width.

    Bars on the diagonal are calibrated. Each bar's line is the 95 % interval of
    its accuracy (Wilson's); the shade of a bar is its share of the rows.

    Args:
        predictive: a classification prediction of N rows.
        y: labels, one row for each predicted row.
        num_bins: how many bins.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `num_bins` is not positive.

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
    ax = _axes(ax, (4.6, 4.6))
    confidence, right = predictive.confidence(y)
    edges = np.linspace(0, 1, num_bins + 1)
    which = np.clip(np.digitize(confidence, edges) - 1, 0, num_bins - 1)
    ax.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="calibrated")
    for index in np.unique(which):
        inside = which == index
        count, share = inside.sum(), right[inside].mean()
        low, high = _wilson(share, count)
        ax.bar(
            edges[index],
            share,
            width=1 / num_bins,
            align="edge",
            color=_BLUE,
            alpha=0.15 + 0.7 * count / len(which),
            edgecolor="white",
        )
        middle = confidence[inside].mean()
        ax.plot([middle, middle], [low, high], color="black", linewidth=1)
        ax.plot(middle, share, "o", color="black", markersize=3)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    return _finish(ax, "confidence", "accuracy", title)


def _wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a binomial proportion."""
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = (
        z
        * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
        / (1 + z**2 / count)
    )
    return center - half, center + half


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
    ax = _axes(ax)
    named = isinstance(predictive, Mapping)
    groups = predictive if named else {"": predictive}
    label, values = "", {}
    for name, group in groups.items():
        if hasattr(group, "mutual_information"):
            label = "mutual information (nats)"
            values[name] = np.ravel(group.mutual_information)
        else:
            label = "epistemic standard deviation"
            values[name] = np.ravel(np.sqrt(group.epistemic_variance))
    bins = np.histogram_bin_edges(np.concatenate(list(values.values())), 40)
    for (name, group), color in zip(
        values.items(), _GROUPS * len(values), strict=False
    ):
        ax.hist(
            group,
            bins,
            density=True,
            color=color,
            alpha=0.55,
            label=name or None,
        )
    return _finish(ax, label, "density of rows", title)


def weight_snr(
    snr: Mapping[str, Any],
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """The signal-to-noise of weights, by layer, and how many exceed it.

    The curve tells what pruning at a ratio would leave of all weights together.
    Ratios are in decibels, `20 log10(|loc| / scale)`: at 0 dB a weight is as
    large as its uncertainty, at 20 dB ten times as large.

    Args:
        snr: arrays of `|loc| / scale` by the name of the weight, such as
            `tfpbnn.signal_to_noise(model)`. Weights of ratio 0 (pruned ones)
            have no place on the axis, and the curve starts below 1.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if all ratios are 0, or there are none.

    Example:
    ```python
    figure = tfpbnn.plots.weight_snr(tfpbnn.signal_to_noise(model))
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424), figure 3
    """
    decibels = {name: _decibels(ratios) for name, ratios in snr.items()}
    joined = np.sort(np.concatenate([[], *decibels.values()]))
    total = sum(np.size(ratios) for ratios in snr.values())
    if not joined.size:
        raise ValueError(
            f"`snr` must have ratios above 0. Received: {total} ratios that "
            "are 0"
        )
    ax = _axes(ax)
    # A few weights are next to nothing: the axis leaves their tail out.
    span = np.quantile(joined, 0.002), joined[-1]
    for (name, values), (face, edge, label) in zip(
        decibels.items(), _by_depth(list(snr)), strict=True
    ):
        size = np.size(snr[name])
        count = int(np.clip(size**0.5, 5, 60))
        bins = np.histogram_bin_edges(values, count, span)
        ax.hist(
            values,
            bins,
            weights=np.full(values.size, 1 / (size * (bins[1] - bins[0]))),
            histtype="stepfilled",
            facecolor=face,
            edgecolor=edge,
            label=label,
        )
    levels = np.linspace(*span, 500)
    above = joined.size - np.searchsorted(joined, levels)
    _share_curve(ax, levels, above / total)
    xlabel, ylabel = "signal-to-noise of a weight (dB)", "density in its layer"
    return _finish(ax, xlabel, ylabel, title, loc="upper left", ncols=2)


def _decibels(ratios: Any) -> Any:
    ratios = np.ravel(np.asarray(ratios))
    return 20 * np.log10(ratios[ratios > 0])


def _by_depth(names: list[str]) -> list[tuple[Any, Any, str | None]]:
    """Face, edge and label of each; of many, outlines from light to dark."""
    from matplotlib import colormaps, colors

    if len(names) <= len(_GROUPS):
        return [
            (colors.to_rgba(color, 0.25), color, name)
            for color, name in zip(_GROUPS, names, strict=False)
        ]
    shades = colormaps["viridis"](np.linspace(0.9, 0.1, len(names)))
    labels = [names[0], *[None] * (len(names) - 2), names[-1]]
    return [
        ("none", shade, label)
        for shade, label in zip(shades, labels, strict=True)
    ]


def _share_curve(ax: Any, x: Any, share: Any) -> None:
    """A curve on an axis of its own, with room above it for the legend."""
    curve = ax.twinx()
    curve.plot(x, share, color="black")
    curve.set_ylabel("share of all weights above (line)")
    curve.set_yticks(np.linspace(0, 1, 6))
    curve.spines["top"].set_visible(False)
    room = 1.1 + 0.04 * len(ax.get_legend_handles_labels()[0])
    curve.set_ylim(0, room)
    ax.set_ylim(0, ax.get_ylim()[1] * room)
