"""Computes the marginal likelihood, and the prior's precision that is best."""

from collections.abc import Callable

import numpy as np

from tfpbnn.base.types import Array

# Precisions are from 1e-8 to 1e8. By their logarithms, those looked at first.
_LOWEST, _HIGHEST = np.log(1e-8), np.log(1e8)
_LOGS = np.linspace(_LOWEST, _HIGHEST, 321)
_STEPS = 60
# Of updates of several precisions, which end with short steps.
_UPDATES, _HALVINGS, _SHORT = 300, 20, 1e-5
_TINY = 1e-30


def penalty(eigenvalues: Array, square: float, precision: float) -> float:
    """Computes how far the log evidence is below the log-likelihood.

    Args:
        eigenvalues: of the curvature, `[D]`.
        square: the sum of the weights' squares.
        precision: the prior's.
    """
    ratio = np.log1p(eigenvalues / precision)
    return float(0.5 * (precision * square + np.sum(ratio)))


def best_precision(eigenvalues: Array, square: float) -> float:
    """Finds the precision of the largest marginal likelihood.

    Among 321 from 1e-8 to 1e8, and then by golden sections.
    """

    def value(log: float) -> float:
        return -penalty(eigenvalues, square, float(np.exp(log)))

    best = int(np.argmax([value(log) for log in _LOGS]))
    low = _LOGS[max(best - 1, 0)]
    high = _LOGS[min(best + 1, len(_LOGS) - 1)]
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if value(left) < value(right):
            low = left
        else:
            high = right
    return float(np.exp((low + high) / 2))


def best_precisions(
    root: Array, groups: Array, squares: Array, start: float
) -> Array:
    """Finds the precisions of groups with the largest marginal likelihood.

    Args:
        root: F `[D, K]`, of which F F^T is the curvature.
        groups: the group of each of the D weights, from 0 to G - 1.
        squares: the sum of the squares of each group's weights, `[G]`.
        start: a precision to begin with.

    Returns:
        `[G]`.

    Reference:
        [MacKay, 1992](https://doi.org/10.1162/neco.1992.4.3.448)
    """

    def found(logs: Array) -> tuple[float, Array]:
        precisions = np.exp(logs)
        scaled = root / np.sqrt(precisions[groups])[:, None]
        inner = np.eye(root.shape[1]) + scaled.T @ scaled
        factor = np.linalg.cholesky(inner)
        solved = np.linalg.solve(factor, scaled.T)
        # How many of a group's weights the data determine.
        known = np.bincount(groups, np.sum(solved**2, 0), len(squares))
        value = 0.5 * np.sum(precisions * squares)
        value += np.sum(np.log(np.diagonal(factor)))
        return value, np.log(
            np.maximum(known, _TINY) / np.maximum(precisions * squares, _TINY)
        )

    return np.exp(_descended(found, np.full(len(squares), np.log(start))))


def _descended(
    found: Callable[[Array], tuple[float, Array]], logs: Array
) -> Array:
    """Goes along MacKay's updates, by shorter steps where they overshoot."""
    value, step = found(logs)
    for _ in range(_UPDATES):
        step = np.clip(step, -2, 2)
        if np.max(np.abs(step)) < _SHORT:
            break
        for _ in range(_HALVINGS):
            new = np.clip(logs + step, _LOWEST, _HIGHEST)
            trial = found(new)
            if trial[0] <= value:
                break
            step /= 2
        else:
            break
        logs, (value, step) = new, trial
    return logs
