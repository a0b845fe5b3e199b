"""Markov chains: whether they mix and agree."""

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfpbnn.plots.style import GROUPS, finish, new_axes

_HEIGHT = 1.7


def trace(
    draws: Any,
    names: Sequence[str] | None = None,
    *,
    max_elements: int = 6,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """The densities of draws, and their course, by ArviZ's `plot_trace`.

    Chains that agree have the same density, and courses without a trend.
    Divergences are marked, where they are known.

    Args:
        draws: arrays `[C, S, ...]` of C chains by name, such as
            `posterior.scales`; or a posterior, or an `arviz.InferenceData`.
            Weights of networks need not agree between chains, predictions do:
            `{"f": posterior.predictions(x)}`.
        names: which of them; default all.
        max_elements: how many numbers are drawn; the first ones.
        title: of the figure.
        ax: matplotlib axes to draw on, two for each number; None makes a
            figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if ArviZ or matplotlib is not installed.
        TypeError: if `draws` is neither.
        ValueError: if there are no draws of such a name, or ax are too few.

    Example:
    ```python
    figure = tfpbnn.plots.trace({"f": posterior.predictions(x[:2])})
    ```
    """

    def plot(az: Any, data: Any, found: list[str], axes: Any) -> None:
        az.plot_trace(data, found, axes=axes, compact=False)

    found = _elements(draws, names, max_elements)
    return _titled(_a_row_each(plot, found, ax, 2, (9.0, _HEIGHT)), title)


def rank(
    draws: Any,
    names: Sequence[str] | None = None,
    *,
    max_elements: int = 6,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Histograms of the ranks of each chain's draws, by ArviZ's `plot_rank`.

    Chains that agree have flat ones. They show what a trace does not: a chain
    that is wider than the others, or was stuck in a tail.

    Args:
        draws: as in `trace`.
        names: which of them; default all.
        max_elements: how many numbers are drawn; the first ones.
        title: of the figure.
        ax: matplotlib axes to draw on, one for each number; None makes a
            figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if ArviZ or matplotlib is not installed.
        TypeError: if `draws` is no such thing.
        ValueError: if there are no draws of such a name, or ax are too few.

    Example:
    ```python
    figure = tfpbnn.plots.rank({"f": posterior.predictions(x[:2])})
    ```

    Reference:
        [Vehtari et al., 2021](https://arxiv.org/abs/1903.08008)
    """

    def plot(az: Any, data: Any, found: list[str], axes: Any) -> None:
        az.plot_rank(data, found, ax=axes.ravel())

    found = _elements(draws, names, max_elements)
    return _titled(_a_row_each(plot, found, ax, 1, (6.0, 1.4 * _HEIGHT)), title)


def pair(
    draws: Any,
    names: Sequence[str] | None = None,
    *,
    max_elements: int = 4,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draws of numbers against each other, by ArviZ's `plot_pair`.

    Funnels and ridges, which chains are slow on, show here, and where they
    diverged.

    Args:
        draws: as in `trace`.
        names: which of them; default all.
        max_elements: how many numbers n are drawn; the first ones.
        title: of the figure.
        ax: matplotlib axes `[n - 1, n - 1]` to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if ArviZ or matplotlib is not installed.
        TypeError: if `draws` is no such thing.
        ValueError: if there are no draws of such a name, fewer than two
            numbers, or ax are too few.

    Example:
    ```python
    figure = tfpbnn.plots.pair(posterior, max_elements=3)
    ```
    """
    az, data, found = _elements(draws, names, max_elements)
    if len(found) < 2:
        raise ValueError(
            "`draws` must have two numbers or more to be drawn against each "
            f"other. Received: {list(found)}"
        )
    side = len(found) - 1
    axes = _axes(ax, (side, side), (1.5 + 2.4 * side, 1.0 + 2.2 * side))
    marked = hasattr(data, "sample_stats")
    _quietly(
        az.plot_pair,
        data,
        var_names=list(found),
        textsize=9,
        ax=axes if side > 1 else axes[0, 0],
        divergences=marked and bool(data.sample_stats["diverging"].any()),
        scatter_kwargs={"alpha": 0.3, "s": 6},
    )
    for row, column in zip(*np.triu_indices(side, 1), strict=True):
        axes[row, column].set_visible(False)
    return _titled(axes, title)


def chain_predictions(
    predictions: Any,
    x: Any = None,
    y: Any = None,
    *,
    level: float = 0.9,
    target: int = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """The mean prediction of each chain, with the spread of its draws.

    Where the chains part, they have not converged, whatever weights look like.

    Args:
        predictions: means of the targets by each draw, `[C, S, N]` or
            `[C, S, N, k]`, such as `posterior.predictions(x)`.
        x: `[N]` positions on the horizontal axis, in any order; None orders the
            rows by their mean.
        y: observed targets, `[N]` or `[N, k]`, drawn as points.
        level: the share of a chain's draws that are in its band.
        target: which of k targets, or classes, to draw.
        title: of the axes.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if shapes don't fit.

    Example:
    ```python
    figure = tfpbnn.plots.chain_predictions(posterior.predictions(x), x[:, 0])
    ```
    """
    values = np.asarray(predictions)
    if values.ndim not in (3, 4):
        raise ValueError(
            "`predictions` must be of shape [C, S, N] or [C, S, N, k]. "
            f"Received: an array of shape {values.shape}"
        )
    values = values if values.ndim == 3 else values[..., target]
    mean = values.mean((0, 1))
    label = "x"
    if x is None:
        x = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        label = "rows, by predicted mean"
    x = _one_for_each_row("x", x, len(mean), 0)
    order = np.argsort(x, kind="stable")
    tails = 100 * np.array([(1 - level) / 2, (1 + level) / 2])
    ax = new_axes(ax)
    for number, chain in enumerate(values):
        color = GROUPS[number % len(GROUPS)]
        low, high = np.percentile(chain, tails, axis=0)
        ax.fill_between(
            x[order], low[order], high[order], color=color, alpha=0.12, lw=0
        )
        ax.plot(
            x[order],
            chain.mean(0)[order],
            color=color,
            linewidth=1.5,
            label=f"chain {number}" if len(values) <= 8 else None,
        )
    if y is not None:
        observed = _one_for_each_row("y", y, len(mean), target)
        ax.plot(x, observed, ".", color="black", markersize=3, label="observed")
    return finish(ax, label, "prediction", title)


def _one_for_each_row(name: str, values: Any, rows: int, target: int) -> Any:
    values = np.asarray(values)
    if values.size and values.ndim and len(values) == rows:
        columns = values.reshape((rows, -1))
        if name == "y" or columns.shape[1] == 1:
            return columns[:, target]
    raise ValueError(
        f"`{name}` must have one number for each of the {rows} rows. Received: "
        f"{name} of shape {values.shape}"
    )


def _elements(draws: Any, names: Any, most: int) -> tuple[Any, Any, Any]:
    """ArviZ, its data of single numbers by name, and these."""
    try:
        az = _quietly(importlib.import_module, "arviz")
    except ImportError as error:
        raise ImportError(
            "Plots of chains need ArviZ: pip install 'tfpbnn[mcmc,plots]'"
        ) from error
    if hasattr(draws, "to_arviz"):
        draws = draws.to_arviz(num_prior_samples=1)
    statistics = {}
    if hasattr(draws, "posterior"):
        if "diverging" in getattr(draws, "sample_stats", {}):
            statistics = {"diverging": draws.sample_stats["diverging"].values}
        draws = {k: v.values for k, v in draws.posterior.data_vars.items()}
    if not isinstance(draws, Mapping):
        raise TypeError(
            "`draws` must be arrays [C, S, ...] by name, a posterior of chains "
            f"or an arviz.InferenceData. Received: {type(draws).__name__}"
        )
    chosen = list(draws if names is None else names)
    missing = [name for name in chosen if name not in draws]
    if missing or not chosen or most < 1:
        raise ValueError(
            f"`names` must be of {list(draws)}, and `max_elements` positive. "
            f"Received: names={names!r}, max_elements={most!r}"
        )
    numbers: dict[str, Any] = {}
    for name in chosen:
        values = np.asarray(draws[name])
        for index in np.ndindex(values.shape[2:]):
            if len(numbers) < most:
                place = ", ".join(map(str, index))
                key = f"{name}[{place}]" if index else name
                numbers[key] = values[(slice(None),) * 2 + index]
    data = az.from_dict(posterior=numbers, sample_stats=statistics or None)
    return az, data, numbers


def _a_row_each(
    plot: Callable[..., None],
    elements: tuple[Any, Any, Any],
    ax: Any,
    columns: int,
    size: tuple[float, float],
) -> Any:
    """Plots single numbers, each in a row of axes, and returns these.

    Args:
        plot: takes ArviZ, its data, the numbers' names and the axes.
        elements: what `_elements` returns.
        ax: axes that the user gave, or None.
        columns: how many axes there are for each number.
        size: width and height of a row, in inches.
    """
    az, data, found = elements
    (width, height), rows = size, len(found)
    axes = _axes(ax, (rows, columns), (width, height * rows))
    _quietly(plot, az, data, list(found), axes)
    return axes


def _axes(ax: Any, shape: tuple[int, int], figsize: tuple[float, float]) -> Any:
    """The given axes, or those of a new figure, as an array."""
    if ax is None:
        figure = new_axes(None, figsize).figure
        figure.clear()
        return figure.subplots(*shape, squeeze=False)
    axes = np.asarray(ax, object)
    if axes.size != shape[0] * shape[1]:
        raise ValueError(
            f"`ax` must be {shape[0]} x {shape[1]} axes. Received: {axes.size}"
        )
    return axes.reshape(shape)


def _titled(axes: Any, title: str | None) -> Any:
    figure = axes.flat[0].figure
    if title:
        figure.suptitle(title)
    return figure


def _quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """ArviZ warns of its own future, and of figures that pyplot has not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)
