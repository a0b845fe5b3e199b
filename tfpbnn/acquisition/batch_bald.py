"""Chooses rows that tell most about the weights together."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.acquisition import reading
from tfpbnn.acquisition.batches import check_size
from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.prediction.results.classification import entropy

# How many rows are scored at once, and how many numbers that takes at most.
_ROWS, _MOST = 64, 2**24


def batch_bald(
    predictive: Any,
    k: int,
    *,
    num_configurations: int = 10_000,
    seed: int | None = None,
) -> Array:
    """Chooses rows whose labels tell most about the weights together.

    It is greedy: each next row adds most to the mutual information of the
    weights and the labels of all chosen rows, so that no two rows tell the
    same. This is exact as long as the chosen rows have at most
    `num_configurations` possible labellings; then as many are drawn.
    The information that a row adds never grows, so most rows need not be
    scored again.

    Args:
        predictive: a `Predictive` of one label for each of N rows, with draws
            that are functions (`draws="coherent"`); or the probabilities of
            classes at each draw, `[S, N, K]`.
        k: the number of rows to choose.
        num_configurations: how many labellings of the chosen rows are kept.
        seed: an integer, for the same labellings each time.

    Returns:
        The indices of k different rows, `[k]`, in the order of their choice.

    Raises:
        TypeError: if the prediction is of numbers.
        ValueError: if rows have several labels, draws are not coherent, or
            there are fewer than k rows.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1]] * 2 + [[0.2, 0.8]],
                      [[0.1, 0.9]] * 2 + [[0.3, 0.7]],
                      [[0.1, 0.9]] * 2 + [[0.8, 0.2]]])             # [3, 3, 2]
    tfpbnn.acquisition.batch_bald(draws, k=2)       # rows 0 and 2: 1 is as 0
    ```

    Reference:
        [Kirsch et al., 2019](https://arxiv.org/abs/1906.08158)
    """
    p = reading.class_draws(predictive)
    known = np.isfinite(p).all(axis=(0, 2))
    check_size(k, int(np.sum(known)))
    p = np.where(known[:, np.newaxis], p, 1 / p.shape[2])
    checks.positive_integer("num_configurations", num_configurations)
    chosen = _Chosen(p, num_configurations, random.generator(seed))
    bounds = np.where(known, np.inf, -np.inf)
    found: list[int] = []
    for _ in range(k):
        best, bounds = _best(chosen, bounds)
        bounds[best] = -np.inf
        found.append(best)
        chosen.add(best)
    return np.asarray(found)


class _Chosen:
    """The labellings of the rows that are chosen.

    Attributes:
        weights: the probability of each labelling, `[C]`.
        posterior: given a labelling, the probability of each draw, `[C, S]`.
    """

    def __init__(self, p: Array, most: int, generator: np.random.Generator):
        self._p = p
        self._most = most
        self._generator = generator
        self._expected = tf.reduce_mean(entropy(tf.constant(p)), axis=0).numpy()
        self.weights: Array = np.ones(1)
        self.posterior: Array = np.full((1, len(p)), 1 / len(p))

    def gains(self, rows: Array) -> Array:
        """Computes the information that each row adds, in nats."""
        draws, _, classes = self._p.shape
        flat = self._p[:, rows].reshape(draws, -1)
        total: Array = np.zeros(len(rows))
        step = max(1, _MOST // flat.shape[1])
        for start in range(0, len(self.weights), step):
            part = slice(start, start + step)
            given = (self.posterior[part] @ flat).reshape(
                -1, len(rows), classes
            )
            each = entropy(tf.constant(given)).numpy()
            total += self.weights[part] @ each
        return total - self._expected[rows]

    def add(self, row: int) -> None:
        """Adds a row: each labelling becomes one for each of its labels."""
        p = self._p[:, row]  # [S, K]
        given = self.posterior @ p  # [C, K]
        weights = (self.weights[:, np.newaxis] * given).ravel()
        # Which labellings, each with which label.
        which = np.flatnonzero(weights > 0)
        weights = weights[which]
        if len(which) > self._most:
            which, weights = self._drawn(which, weights)
        old, label = np.divmod(which, p.shape[1])
        posterior = self.posterior[old] * p.T[label]
        self.posterior = posterior / posterior.sum(axis=1, keepdims=True)
        self.weights = weights / weights.sum()

    def _drawn(self, which: Array, weights: Array) -> tuple[Array, Array]:
        """Draws labellings, those of large probability with less noise."""
        shares = np.cumsum(weights / weights.sum())
        places = np.arange(self._most) + self._generator.uniform()
        drawn = np.searchsorted(shares, places / self._most)
        drawn, counts = np.unique(
            np.minimum(drawn, len(which) - 1), return_counts=True
        )
        return which[drawn], counts / self._most


def _best(chosen: _Chosen, bounds: Array) -> tuple[int, Array]:
    """Finds the row that adds most, where none adds more than its bound."""
    bounds = bounds.copy()
    order = np.argsort(-bounds, kind="stable")
    best, most = -1, -np.inf
    for start in range(0, len(order), _ROWS):
        rows = order[start : start + _ROWS]
        if bounds[rows[0]] < most or np.isneginf(bounds[rows[0]]):
            break
        rows = rows[~np.isneginf(bounds[rows])]
        bounds[rows] = gains = chosen.gains(rows)
        top = int(rows[np.argmax(gains)])
        is_first = gains.max() == most and top < best
        if gains.max() > most or is_first:
            best, most = top, float(gains.max())
    return best, bounds
