"""Computes the marginal likelihood, and the prior's precision that is best."""

import numpy as np

from tfpbnn.base.types import Array

# The precisions that are looked at first, by their logarithms.
_LOGS = np.linspace(np.log(1e-8), np.log(1e8), 321)
_STEPS = 60


def log_evidence(
    log_likelihood: float,
    eigenvalues: Array,
    square: float,
    precision: float | Array,
) -> Array:
    """Computes the Laplace approximation of the log marginal likelihood.

    Args:
        log_likelihood: that of the data at the weights.
        eigenvalues: of the curvature, `[D]`.
        square: the sum of the weights' squares.
        precision: the prior's, one or several `[G]`.
    """
    precisions = np.asarray(precision, "float64")[..., None]
    ratio = np.log1p(eigenvalues / precisions)
    penalty = precisions[..., 0] * square + np.sum(ratio, axis=-1)
    return log_likelihood - 0.5 * penalty


def best_precision(eigenvalues: Array, square: float) -> float:
    """Finds the precision of the largest marginal likelihood.

    Among 321 from 1e-8 to 1e8, and then by golden sections.
    """

    def value(log: float | Array) -> Array:
        return log_evidence(0.0, eigenvalues, square, np.exp(log))

    best = int(np.argmax([float(value(log)) for log in _LOGS]))
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
