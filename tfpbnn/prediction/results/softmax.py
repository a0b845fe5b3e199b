"""Averages the probabilities of classes over draws, in one pass over them."""

import math

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Categorical, Likelihood

# Exponentials of what is below it, and above minus it, are numbers in float32.
_MODERATE = 80.0
# So many elements at a time stay in the cache.
_BLOCK = 2**16


def is_moderate(likelihood: Likelihood, outputs: Array) -> bool:
    """Says whether outputs are logits of which no exponential is infinite."""
    # Subclasses may say otherwise what their outputs mean.
    if type(likelihood) is not Categorical or not likelihood.from_logits:
        return False
    if likelihood.recalibration is not None or not outputs.size:
        return False
    return bool(outputs.max() < _MODERATE and outputs.min() > -_MODERATE)


def mean(outputs: Array) -> Array:
    """Computes the mean of softmax over draws, of moderate logits.

    Of few classes a shift by the largest logit takes longer than all else, a
    product with ones sums up faster than a reduction, and memory that is new
    takes longer to get than to fill.

    Args:
        outputs: the logits `[S, N, .., K]`.

    Returns:
        The probabilities `[N, .., K]`, in float64.
    """
    num_draws, num_rows, *places = outputs.shape
    size = math.prod(places)
    rows = max(1, _BLOCK // size)
    draws = max(1, _BLOCK // (min(rows, num_rows) * size))
    dtype = np.result_type(outputs.dtype, np.float32)
    block = np.empty((draws, min(rows, num_rows), *places), dtype)
    ones = np.ones((places[-1], 1), dtype)
    total = np.zeros(outputs.shape[1:])
    for row in range(0, num_rows, rows):
        for draw in range(0, num_draws, draws):
            logits = outputs[draw : draw + draws, row : row + rows]
            p = block[: logits.shape[0], : logits.shape[1]]
            np.exp(logits, out=p, dtype=dtype)
            p /= p @ ones
            total[row : row + rows] += p.sum(axis=0)
    return total / num_draws
