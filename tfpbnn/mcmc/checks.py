"""What is looked at before chains run, and when they have."""

import math
import os
import warnings
from typing import Any

import keras
import numpy as np

from tfpbnn.densities.log_density import LogDensity
from tfpbnn.diagnostics import convergence
from tfpbnn.posteriors.chains import ChainPosterior

_R_HAT, _LEAST_ESS = 1.01, 100


def check_memory(size: int, num_chains: int, num_samples: int) -> None:
    """Raises if the draws would take more than half of the memory.

    Raises:
        ValueError: says how much they need.
    """
    needed = 8 * size * num_chains * num_samples  # once as drawn, once kept
    memory = _memory()
    if needed > memory / 2:
        raise ValueError(
            "`model` must be small enough for its draws to fit in memory: "
            f"{num_chains} chains of {num_samples} draws of {size} weights "
            f"need {needed / 2**30:.1f} GiB, and there are "
            f"{memory / 2**30:.1f}. Received: num_chains={num_chains}, "
            f"num_samples={num_samples}. Take fewer draws, raise `thin`, make "
            "fewer weights random (`prior={...: None}`, frozen layers), or "
            "use tfpbnn.ensembles.SWAG or variational layers"
        )


def check_program(density: LogDensity, num_chains: int) -> None:
    """Raises if chains that move at once would take more than the memory.

    Raises:
        ValueError: says how much they need.
    """
    needed, memory = density.memory_of(num_chains), _memory()
    if needed > memory:
        raise ValueError(
            "`num_chains` must be so few that the gradients of all chains fit "
            "in memory, as these move at once: layers' outputs take "
            f"{needed / 2**30:.1f} GiB, and there are {memory / 2**30:.1f}. "
            f"Received: num_chains={num_chains}. Take fewer chains, or "
            'kernel="nuts", whose chains move each by itself'
        )


def _memory() -> float:
    """Bytes of this machine's memory; infinitely many where not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return math.inf


def warn_of_chains(posterior: ChainPosterior, x: Any, most: int) -> None:
    """Warns if the draws can't be relied on, with what to do.

    Args:
        posterior: the draws.
        x: some inputs.
        most: gradients of the longest path.
    """
    statistics = posterior.statistics
    notes = [
        *_of_divergences(statistics["is_divergent"]),
        *_of_depth(statistics["num_gradients"], most),
        *_of_convergence(posterior, x),
    ]
    for note in notes:
        warnings.warn(note, stacklevel=3)


def _of_divergences(is_divergent: Any) -> list[str]:
    count = int(np.sum(is_divergent))
    if not count:
        return []
    return [
        f"{count} of {is_divergent.size} draws diverged: the chains can't "
        "follow the density there, and predictions may be biased. Raise "
        "`target_accept` (to 0.95), or `num_warmup`."
    ]


def _of_depth(num_gradients: Any, most: int) -> list[str]:
    share = float(np.mean(num_gradients >= most))
    if share < 0.1:
        return []
    return [
        f"{share:.0%} of the paths were as long as `max_tree_depth` lets them "
        "be: draws are correct, but more alike than they could be. Raise "
        '`num_warmup` or `max_tree_depth`, or begin at init="annealed", if '
        "they did not."
    ]


def _of_convergence(posterior: ChainPosterior, x: Any) -> list[str]:
    try:
        convergence.arviz()
    except ImportError:
        return []
    if posterior.num_samples < 4:
        return []
    found = keras.tree.flatten(posterior.predictions(x))
    flat = [p.reshape((*p.shape[:2], -1))[..., :50] for p in found]
    draws = np.concatenate(flat, axis=-1)
    notes = []
    r_hat = 1.0
    if posterior.num_chains > 1:
        r_hat = float(np.nanmax(convergence.r_hat(draws), initial=1.0))
    if r_hat > _R_HAT:
        notes.append(
            f"Chains don't agree: R-hat of predictions is up to {r_hat:.2f} "
            f"(above {_R_HAT}). Raise `num_warmup` and `num_samples`, or "
            'begin at init="annealed" or a trained model, if they did not.'
        )
    effective = float(np.nanmin(convergence.ess(draws)))
    if effective < _LEAST_ESS:
        notes.append(
            f"Predictions have as few as {effective:.0f} effective draws: "
            f"raise `num_samples` for {_LEAST_ESS} or more."
        )
    return notes
