"""Plots what training did to the bound and its parts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpbnn.plots.style import BLUE, GREY, ORANGE, finish, new_axes, widened


def elbo(
    history: Any,
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots the bound of each epoch, and the two parts that it is made of.

    The bound on the log evidence (ELBO) is the expected log-likelihood minus
    the KL; both are per example, as in the loss. A KL that falls to almost 0
    means that the weights went back to the prior. Training is long enough when
    the bound is level.

    Args:
        history: what `fit` returned, or a dict of its logs, which has `loss`
            and, from a `KLWeight` or a `fit` of `tfpbnn`, `kl` and `kl_weight`.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there is no KL in the logs.

    Example:
    ```python
    figure = tfpbnn.plots.elbo(model.fit(x, y, epochs=50))
    ```
    """
    logs = getattr(history, "history", history)
    missing = sorted({"kl", "kl_weight", "loss"} - set(logs))
    if missing:
        raise ValueError(
            "`history` must have the logs of `fit` with a KL: use "
            "tfpbnn.Sequential or tfpbnn.Model, or the callback "
            f"tfpbnn.callbacks.KLWeight. Received: logs without {missing}"
        )
    loss, kl, weight = (
        np.asarray(logs[name], np.float64)
        for name in ("loss", "kl", "kl_weight")
    )
    epochs = np.arange(1, len(loss) + 1)
    term = kl * weight
    ax = new_axes(ax)
    ax.plot(*widened(epochs, -loss), color=BLUE, label="bound")
    ax.plot(
        *widened(epochs, term - loss),
        "--",
        color=ORANGE,
        label="expected log-likelihood",
    )
    ax.plot(*widened(epochs, -term), ":", color="black", label="minus the KL")
    if len(logs.get("val_loss", [])) == len(loss):
        ax.plot(
            *widened(epochs, -np.asarray(logs["val_loss"])),
            "-.",
            color=GREY,
            label="of validation data",
        )
    return finish(ax, "epoch", "nats per example", title)


def kl_by_layer(
    kl: Mapping[str, Any],
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plots how many nats each layer has learned.

    The KL of a layer is how far its posterior went from its prior. A layer with
    almost none has stayed at the prior: it does nothing but add noise.

    Args:
        kl: the KLs in nats by the name of the layer, as
            `tfpbnn.diagnostics.kl_by_layer(model)` gives them; arrays are
            summed.
        title: the title of the axes.
        ax: the matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `kl` is not a mapping; a model is none.

    Example:
    ```python
    figure = tfpbnn.plots.kl_by_layer({"dense": 120.5, "dense_1": 33.1})
    ```
    """
    if not isinstance(kl, Mapping):
        raise TypeError(
            "`kl` must be KLs by the name of the layer, as "
            "tfpbnn.diagnostics.kl_by_layer(model) gives them. Received: an "
            f"object of type {type(kl).__name__}"
        )
    names = list(kl)
    values = [float(np.sum(kl[name])) for name in names]
    ax = new_axes(ax, (6.0, 1.2 + 0.35 * len(names)))
    bars = ax.barh(range(len(names)), values, color=BLUE)
    ax.bar_label(bars, fmt="%.4g", padding=3, fontsize="small")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    return finish(ax, "KL from the prior (nats)", "layer", title)
