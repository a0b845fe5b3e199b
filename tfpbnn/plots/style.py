"""Defines what all figures share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

BLUE, ORANGE, GREY = "#1f5fa8", "#d9822b", "#8a8f98"
GROUPS = (BLUE, ORANGE, "#3a8f5c", "#8d4fa8", GREY, "#b03a48", "#2a9aa8")
# Beside the colors, so that figures can be read in black and white; as many as
# have no factor in common with the colors, so that few pairs repeat.
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
# About how many letters a line of a legend has, and how many a mark replaces.
_LINE, _MARK = 76, 8
HATCHES = ("", "////", "....", "xxxx", "----")


def check_kind(predictive: Any, kind: str, method: str) -> None:
    """Raises unless a prediction is of the kind that has this method."""
    if not hasattr(predictive, method):
        raise TypeError(
            f"`predictive` must be a {kind} prediction, such as "
            f"`tfpbnn.predict` gives. Received: {type(predictive).__name__}"
        )


def counted(predictive: Any, values: Any) -> Any:
    """Takes the values of the places that count: `[n, ...]` of `[N, ...]`.

    Args:
        predictive: a prediction; its `mask` says which places count, if it has
            one.
        values: the values `[N, ...]`, whose first axes are those of places.
    """
    mask = getattr(predictive, "mask", None)
    return values if mask is None else values[mask]


def widened(x: Any, *values: Any) -> list[Any]:
    """Gives a single place a width, as lines and bands of one have none.

    Args:
        x: where values are, `[n]`.
        values: the values, `[n]` each.
    """
    if len(x) != 1:
        return [x, *values]
    half = np.array([-0.5, 0.5])
    return [x + half, *(value + 0 * half for value in values)]


def new_axes(ax: Any, figsize: tuple[float, float] = (6.0, 4.0)) -> Any:
    """Returns the given axes, or those of a new figure outside of pyplot."""
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "tfpbnn.plots needs matplotlib: pip install tfpbnn[plots]"
        ) from error
    return Figure(figsize=figsize, layout="constrained").add_subplot()


def finish(
    ax: Any, xlabel: str, ylabel: str, title: str | None, **legend: Any
) -> Any:
    """Adds labels, a title and a legend to the axes; returns the figure.

    The legend is below the axes, where it can't hide data.
    """
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    labels = ax.get_legend_handles_labels()[1]
    if labels:
        widest = max(map(len, labels)) + _MARK
        # The pad, in sizes of the font, leaves room for the label of x.
        below = {
            "loc": "upper left",
            "bbox_to_anchor": (0.0, 0.0),
            "borderaxespad": 4.0,
            "ncols": max(1, min(len(labels), 3, _LINE // widest)),
        }
        ax.legend(edgecolor="none", fontsize="small", **(below | legend))
    return ax.figure


def check_finite(name: str, values: Any) -> None:
    """Raises if a number is NaN or infinite, which no figure shows."""
    count = int(np.sum(~np.isfinite(values)))
    if count:
        raise ValueError(
            f"`{name}` must have finite numbers. Received: {count} that are "
            "NaN or infinite"
        )


def check_bins(num_bins: int) -> None:
    """Raises unless there is a bin."""
    if num_bins < 1:
        raise ValueError(
            f"`num_bins` must be positive. Received: num_bins={num_bins!r}"
        )


def effective(weights: Any) -> float:
    """Counts the rows of equal weight whose mean would vary as much."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def wilson(share: Any, count: Any, z: float = 1.96) -> tuple[Any, Any]:
    """Computes Wilson's interval of a binomial proportion.

    Args:
        share: the proportions.
        count: the numbers of trials; of weights, see `effective`.
        z: the quantile of the Normal; 1.96 for 95 %.
    """
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = share * (1 - share) / count + z**2 / (4 * count**2)
    half = z * spread**0.5 / (1 + z**2 / count)
    return center - half, center + half


def each_of(predictive: Any) -> Mapping[str, Any]:
    """Returns predictions by name, of one or a mapping of several."""
    return predictive if isinstance(predictive, Mapping) else {"": predictive}
