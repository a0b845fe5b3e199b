"""Defines what all figures share."""

from typing import Any

import numpy as np

BLUE, ORANGE, GREY = "#1f5fa8", "#d9822b", "#8a8f98"
GROUPS = (BLUE, ORANGE, "#3a8f5c", "#8d4fa8", GREY)


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


def weighed(predictive: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
    """Takes the places that weigh something: predictions, targets, weights.

    Args:
        predictive: a prediction of N rows.
        y: the targets, one row for each predicted row, or None.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`; None
            leaves everything as it is.

    Raises:
        ValueError: if the weights fit neither rows nor places, are negative or
            not finite, or all 0.
    """
    if sample_weight is None:
        return predictive, y, None
    places = predictive.mean.shape[:-1]
    if np.ma.is_masked(sample_weight):
        raise ValueError(
            "`sample_weight` must be an array without masked values. Received: "
            f"{np.ma.count_masked(sample_weight)} of them. Pass `w.filled(0)`"
        )
    given = np.asarray(sample_weight)
    if given.ndim == 0 or given.shape != places[: given.ndim]:
        raise ValueError(
            "`sample_weight` must be one weight for each row, or for each "
            f"place of the outputs, {places}. Received: weights of shape "
            f"{given.shape}"
        )
    if not (np.all(np.isfinite(given) & (given >= 0)) and np.any(given)):
        raise ValueError(
            "`sample_weight` must be finite and 0 or more, and not 0 "
            f"everywhere. Received: weights from {np.min(given)} to "
            f"{np.max(given)}"
        )
    ones = (1,) * (len(places) - given.ndim)
    weights = np.broadcast_to(given.reshape(given.shape + ones), places)
    kept = counted_places(predictive, weights > 0)
    y = None if y is None else np.asanyarray(y)[kept]
    return predictive[kept], y, weights[kept]


def counted_places(predictive: Any, places: Any) -> Any:
    """Leaves masked places out of booleans `[N, ...]`."""
    mask = getattr(predictive, "mask", None)
    return places if mask is None else places & mask


def effective_count(weights: Any) -> float:
    """Computes Kish's effective number of rows that have weights."""
    return float(np.sum(weights) ** 2 / np.sum(np.square(weights)))


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
    """Adds labels, a title and a legend to the axes; returns the figure."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(framealpha=0.8, edgecolor="none", **legend)
    return ax.figure
