"""Plots posteriors of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpbnn.plots.style import GROUPS, MARKERS, finish, new_axes


def weight_snr(
    snr: Mapping[str, Any],
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots the signal-to-noise ratios of weights, and the share above each.

    Ratios are shown by layer. The curve tells which share of all weights would
    be left by pruning below a ratio.
    Ratios are in decibels, `20 log10(|loc| / scale)`: at 0 dB a weight is as
    large as its uncertainty, at 20 dB ten times as large.

    Args:
        snr: arrays of `|loc| / scale` by the name of the weight, as
            `tfpbnn.signal_to_noise(model)` returns them. Weights of ratio 0
            (pruned ones) have no place on the axis, and the curve starts
            below 1.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `snr` is not a mapping; a model is none.
        ValueError: if all ratios are 0, or there are none.

    Example:
    ```python
    figure = tfpbnn.plots.weight_snr(tfpbnn.signal_to_noise(model))
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424), figure 3
    """
    if not isinstance(snr, Mapping):
        raise TypeError(
            "`snr` must be ratios by the name of the weight, as "
            "tfpbnn.signal_to_noise(model) gives them. Received: an object of "
            f"type {type(snr).__name__}"
        )
    decibels = {name: _decibels(ratios) for name, ratios in snr.items()}
    joined = np.sort(np.concatenate([[], *decibels.values()]))
    total = sum(np.size(ratios) for ratios in snr.values())
    if not joined.size:
        raise ValueError(
            f"`snr` must have ratios above 0. Received: {total} ratios that "
            "are 0"
        )
    ax = new_axes(ax)
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
    return finish(ax, xlabel, ylabel, title)


def _decibels(ratios: Any) -> Any:
    ratios = np.ravel(np.asarray(ratios))
    return 20 * np.log10(ratios[ratios > 0])


def _by_depth(names: list[str]) -> list[tuple[Any, Any, str | None]]:
    """Chooses each weight's face, edge and label; of many, light to dark."""
    from matplotlib import colormaps, colors

    if len(names) <= len(GROUPS):
        return [
            (colors.to_rgba(color, 0.25), color, name)
            for color, name in zip(GROUPS, names, strict=False)
        ]
    shades = colormaps["viridis"](np.linspace(0.9, 0.1, len(names)))
    labels = [names[0], *[None] * (len(names) - 2), names[-1]]
    return [
        ("none", shade, label)
        for shade, label in zip(shades, labels, strict=True)
    ]


def _share_curve(ax: Any, x: Any, share: Any) -> None:
    """Draws a curve on its own axis."""
    curve = ax.twinx()
    curve.plot(x, share, color="black")
    curve.set_ylabel("share of all weights above (line)")
    curve.set_ylim(0, 1.05)
    curve.spines["top"].set_visible(False)


def weight_posteriors(
    posteriors: Mapping[str, Any],
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots the means of weights against their standard deviations.

    Each dot is a weight. Those at the prior's standard deviation, with means
    near the prior's, have learned nothing; those far below are known well.

    Args:
        posteriors: pairs (mean, stddev) of arrays by the name of the weights.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if means and standard deviations differ in shape.

    Example:
    ```python
    figure = tfpbnn.plots.weight_posteriors(
        {"kernel": ([0.5, -1.2, 0.1], [0.1, 0.1, 0.9])}
    )
    ```

    Reference:
        [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """
    if not isinstance(posteriors, Mapping):
        raise TypeError(
            "`posteriors` must be means and standard deviations by the name "
            'of the weights, such as {"kernel": (q.mean(), q.stddev())} of '
            "q = layer.kernel_posterior. Received: an object of type "
            f"{type(posteriors).__name__}"
        )
    ax = new_axes(ax)
    for i, (name, (mean, stddev)) in enumerate(posteriors.items()):
        mean, stddev = np.ravel(mean), np.ravel(stddev)
        if mean.shape != stddev.shape:
            raise ValueError(
                "`posteriors` must have as many standard deviations as means. "
                f"Received: {stddev.size} of {mean.size} for {name!r}"
            )
        ax.plot(
            mean,
            stddev,
            MARKERS[i % len(MARKERS)],
            color=GROUPS[i % len(GROUPS)],
            # Of many dots the dense parts can still be told from the others.
            alpha=float(np.clip(30 / mean.size**0.5, 0.1, 0.8)),
            markersize=3,
            markeredgewidth=0,
            label=name,
        )
    ax.set_yscale("log")
    return finish(ax, "mean of a weight", "standard deviation", title)
