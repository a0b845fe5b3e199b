"""What all figures share."""

from typing import Any

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
    """Values of the places that count, `[n, ...]` of `[N, ...]`.

    Args:
        predictive: a prediction; its `mask` says which places count, if it has
            one.
        values: one for each place, and more axes.
    """
    mask = getattr(predictive, "mask", None)
    return values if mask is None else values[mask]


def new_axes(ax: Any, figsize: tuple[float, float] = (6.0, 4.0)) -> Any:
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


def finish(
    ax: Any, xlabel: str, ylabel: str, title: str | None, **legend: Any
) -> Any:
    """Labels, a legend if there is something to tell; the figure."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(framealpha=0.8, edgecolor="none", **legend)
    return ax.figure
