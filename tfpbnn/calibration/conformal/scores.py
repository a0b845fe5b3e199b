"""Scores of held-out targets, and their ranks."""

import math
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base.types import Array


class Scores(NamedTuple):
    """The scores of held-out targets, of one group.

    Attributes:
        values: in ascending order, `[n]`.
        mass: the cumulated weights, `[n]`.
    """

    values: Array
    mass: Array

    @classmethod
    def of(cls, values: Array, weights: Array) -> "Scores":
        """Orders scores, with their weights."""
        order = np.argsort(values, kind="stable")
        return cls(values[order], np.cumsum(weights[order]))

    def threshold(self, coverage: Any, weights: Any = 1.0) -> Array:
        """Finds the score that a share `coverage` of new ones does not exceed.

        The new row is taken to be one more of them, of a score that may be
        anything: this is what makes the coverage hold for few rows too.

        Args:
            coverage: the share of rows; below 0 nothing is covered, and where
                there are too few scores the threshold is infinite.
            weights: the weights of the new rows.
        """
        wanted = np.asarray(coverage) * (self.mass[-1] + np.asarray(weights))
        # Less a rounding error, or 0.9 * 10 would be more than 9.
        place = np.searchsorted(self.mass, wanted * (1 - 1e-12))
        values: Array = np.append(self.values, np.inf)
        return np.where(wanted > 0, values[place], -np.inf)


def least_rows(coverage: float) -> int:
    """Computes the smallest number of held-out rows for a coverage."""
    return math.ceil(round(coverage / (1 - coverage), 9))
