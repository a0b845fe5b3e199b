"""Scores each row of numbers by samples of its prediction.

A sample's own distance to itself is 0, so the mean distance of all pairs is
too small; "fair" scores leave such pairs out. Their expectation is that of the
distribution which the samples are from, whatever their number S; that of the
biased ones is larger, by the order of 1 / S, and favours samples that are less
spread than the distribution.

Reference:
    [Ferro, 2014](https://doi.org/10.1002/qj.2270)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfpbnn.base.types import Array

# The number of elements of [rows, S, k] to work on at once.
_CHUNK = 2**15


def crps(y: Array, samples: Array, fair: bool) -> Array:
    """Computes the CRPS of each target: E|Y - y| less half E|Y - Y'|.

    The mean distance of the pairs is a weighted sum of the sorted samples, so
    that it takes the order of S log S operations.

    Args:
        y: the targets, `[n, k]`.
        samples: samples of the targets, `[S, n, k]`.
        fair: whether no sample is paired with itself.

    Returns:
        `[n, k]`.
    """
    count = len(samples)
    # The i-th of the sorted is above i and below the other S - 1 - i.
    ranks: Array = 2 * np.arange(count) - (count - 1)
    pairs = count * (count - 1) if fair else count * count
    distances = np.mean(np.abs(samples - y), axis=0)
    # Differences from the middle cost no digits where samples are far from 0.
    middle = samples[:1]
    spread = np.tensordot(ranks, np.sort(samples - middle, axis=0), 1)
    return distances - spread / pairs


def energy(y: Array, samples: Array, fair: bool, beta: float) -> Array:
    """Computes the energy score: E||Y - y||^b less half E||Y - Y'||^b.

    Args:
        y: the targets, `[n, k]`.
        samples: samples of the targets, `[S, n, k]`.
        fair: whether no sample is paired with itself.
        beta: the power b, in (0, 2).

    Returns:
        `[n]`.
    """
    count = len(samples)
    pairs = count * (count - 1) if fair else count * count
    distances = np.mean(_norms(samples - y) ** beta, axis=0)
    total = np.zeros(len(y))
    # All pairs that are so many places apart, both ways by symmetry.
    for shift in range(1, count):
        gaps = samples[shift:] - samples[:-shift]
        total += 2 * np.sum(_norms(gaps) ** beta, axis=0)
    return distances - 0.5 * total / pairs


def variogram(
    y: Array, samples: Array, fair: bool, order: float, pair_weights: Array
) -> Array:
    """Computes the variogram score, of distances between pairs of targets.

    It is the sum over pairs of targets i and j of `w_ij (|y_i - y_j|^p -
    E|Y_i - Y_j|^p)^2`. The square of a mean over samples is too large by the
    mean's variance, which the fair score takes away.

    Args:
        y: the targets, `[n, k]`.
        samples: samples of the targets, `[S, n, k]`.
        fair: whether the variance of the mean is taken away.
        order: the power p, positive.
        pair_weights: the weights of the pairs, `[k, k]`.

    Returns:
        `[n]`.
    """
    found = np.zeros(len(y))
    count, _, size = samples.shape
    for i in range(size):
        for j in range(i + 1, size):
            weight = pair_weights[i, j] + pair_weights[j, i]
            observed = np.abs(y[:, i] - y[:, j]) ** order
            drawn = np.abs(samples[..., i] - samples[..., j]) ** order
            squares = (observed - np.mean(drawn, axis=0)) ** 2
            if fair:
                squares = squares - np.var(drawn, axis=0, ddof=1) / count
            found += weight * squares
    return found


def by_rows(
    function: Callable[..., Array], y: Array, samples: Array, *arguments: Any
) -> Array:
    """Calls a function above for chunks of rows, which stay in the cache."""
    step = max(1, _CHUNK // max(samples[:, :1].size, 1))
    parts = [
        function(y[i : i + step], samples[:, i : i + step], *arguments)
        for i in range(0, len(y), step)
    ]
    return np.concatenate(parts)


def _norms(vectors: Array) -> Array:
    """Computes the lengths of vectors, `[..., k]`."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
