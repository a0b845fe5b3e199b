"""Computes running means and deviations of sets of weights."""

import numpy as np

from tfpbnn.base.types import Array


class Moments:
    """A running mean of weights, and their deviations from it.

    They are computed in float64 and by Welford's recurrence, since a mean of
    squares minus a squared mean would lose all digits of a small variance.

    Attributes:
        count: the number of sets of weights.
        means: the mean of each weight.
        squares: the sum of the squared deviations of each weight.
        columns: the deviations of the last `rank` sets, each from the mean of
            the sets up to it. With a rank of 0 there are neither columns nor
            squares.
    """

    def __init__(self, rank: int = 0):
        self.count = 0
        self.means: list[Array] = []
        self.squares: list[Array] = []
        self.columns: list[list[Array]] = []
        self._rank = rank

    def add(self, values: list[Array]) -> None:
        """Adds one more set of weights."""
        wide: list[Array] = [value.astype("float64") for value in values]
        if not self.count:
            self.means = [np.zeros_like(value) for value in wide]
            self.squares = [np.zeros_like(value) for value in wide]
        self.count += 1
        changes = [v - mean for v, mean in zip(wide, self.means, strict=True)]
        for mean, change in zip(self.means, changes, strict=True):
            mean += change / self.count
        if not self._rank:
            return
        column = [v - mean for v, mean in zip(wide, self.means, strict=True)]
        for square, change, rest in zip(
            self.squares, changes, column, strict=True
        ):
            square += change * rest
        column = [rest.astype("float32") for rest in column]
        self.columns = [*self.columns, column][-self._rank :]
