"""Whether chains agree, and how many draws they are worth, by ArviZ."""

import importlib
import warnings
from typing import Any

import numpy as np

from tfpbnn.base.types import Array


def arviz() -> Any:
    """ArviZ, imported at the first use.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own future
            return importlib.import_module("arviz")
    except ImportError as error:
        raise ImportError(
            "Diagnostics of chains need ArviZ: pip install 'tfpbnn[mcmc]'"
        ) from error


def r_hat(draws: Array) -> Array:
    """How much chains differ from each other: 1 if they don't.

    Rank-normalized, of both the bulk and the spread. Above 1.01 they have not
    converged.

    Args:
        draws: `[chains, draws, ...]`.

    Returns:
        `[...]`; NaN where the draws are all equal.

    Reference:
        [Vehtari et al., 2021](https://arxiv.org/abs/1903.08008)
    """
    return _each(draws, "rhat")


def ess(draws: Array, method: str = "bulk") -> Array:
    """How many independent draws give as exact an answer.

    Args:
        draws: `[chains, draws, ...]`.
        method: "bulk" for the center of the distribution, "tail" for its 5 %
            and 95 % quantiles.

    Returns:
        `[...]`.
    """
    return _each(draws, "ess", method=method)


def mcse(draws: Array) -> Array:
    """The standard error of the mean of draws.

    Args:
        draws: `[chains, draws, ...]`.

    Returns:
        `[...]`, in the units of the draws.
    """
    return _each(draws, "mcse", method="mean")


def _each(draws: Array, function: str, **kwargs: Any) -> Array:
    az = arviz()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        data = az.convert_to_dataset({"x": np.asarray(draws, "float64")})
        return np.asarray(getattr(az, function)(data, **kwargs)["x"])
