"""Plots forecasts of series."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfpbnn.plots.style import (
    BLUE,
    check_finite,
    check_kind,
    finish,
    new_axes,
)


def fan_chart(
    predictive: Any,
    x: Any = None,
    y: Any = None,
    *,
    history: Any = None,
    row: int | None = None,
    target: int = 0,
    levels: Sequence[float] = (0.3, 0.6, 0.9),
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots a forecast as a fan of central intervals, after what came before.

    The darkest band is the narrowest interval. The target should be outside of
    the 90 % interval one time in ten.

    Args:
        predictive: a regression prediction. Its T rows are the steps of the
            forecast; or with `row=`, the steps of that row, of `[N, T, k]`, or
            its targets, of `[N, T]`.
        x: the T times of the steps; None counts them from 1.
        y: what came, `[T]`.
        history: what came before, `[H]`; its times are as far apart as those
            of the forecast.
        row: the row whose steps are drawn, if rows have steps, or targets
            that are steps.
        target: the index of the target, of k.
        levels: the probabilities of the intervals.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `predictive` is no regression prediction.
        ValueError: if x or y don't have a number for each step, if there is
            one step only, or `row` is needed.

    Example:
    ```python
    figure = tfpbnn.plots.fan_chart(p[20:], history=y_test[:20])
    ```

    Reference:
        [Britton et al., 1998](https://www.bankofengland.co.uk/quarterly-bulletin/1998/q1/the-inflation-report-projections-understanding-the-fan-chart)
    """
    check_kind(predictive, "regression", "interval")

    steps = functools.partial(_steps, row=row, target=target)
    median = steps(predictive.quantile(0.5))
    count = len(median)
    x = np.arange(1, count + 1) if x is None else _numbers("x", x, count)
    check_finite("x", x)
    ax = new_axes(ax)
    for level, shade in zip(
        sorted(levels, reverse=True),
        np.linspace(0.15, 0.5, len(levels)),
        strict=True,
    ):
        low, high = map(steps, predictive.interval(level))
        ax.fill_between(
            x,
            low,
            high,
            color=BLUE,
            alpha=shade,
            linewidth=0,
            label=f"{level:.0%} interval",
        )
    ax.plot(x, median, color=BLUE, linestyle="--", label="median")
    if history is not None:
        before = np.ravel(history)
        width = (x[-1] - x[0]) / (count - 1)
        times = x[0] + width * np.arange(-len(before), 0)
        ax.plot(times, before, color="black", label="before")
    if y is not None:
        y = _numbers("y", y, count)
        ax.plot(x, y, ".-", color="black", markersize=4, label="observed")
    return finish(ax, "time", "target", title)


def _steps(values: Any, row: int | None, target: int) -> Any:
    """Takes what is a step's each, of numbers `[N, k]` or `[N, T, k]`."""
    if row is None:
        found = values[..., target]
    else:
        found = values[row] if values.ndim == 2 else values[row, ..., target]
    if found.ndim != 1 or found.size < 2:
        raise ValueError(
            "`predictive` must have two steps or more: its rows, or with "
            "`row=` the steps of a row, or its targets where these are steps. "
            f"Received: numbers of shape {values.shape} and row={row!r}"
        )
    return found


def _numbers(name: str, values: Any, count: int) -> Any:
    values = np.ravel(values)
    if values.shape != (count,):
        raise ValueError(
            f"`{name}` must have one number for each of the {count} steps. "
            f"Received: {values.size} numbers"
        )
    return values
