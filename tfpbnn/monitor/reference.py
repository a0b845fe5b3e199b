"""Keeps how numbers were distributed when all was well.

Numbers that come later are compared with these by their ranks. How far means of
ranks may be from those of the reference by chance of its own rows is known, by
the inequality of Dvoretzky, Kiefer and Wolfowitz: so tests of drift have their
rate of false alarms for a small reference too.
"""

import dataclasses
from typing import Any

import numpy as np

from tfpbnn.base.types import Array

_MOST_POINTS = 1001
NUM_BINS = 10


@dataclasses.dataclass(frozen=True)
class Variable:
    """The distribution of one number in the reference.

    Attributes:
        points: values in increasing order, `[m]`.
        count: how many rows they were taken of.
        mean: the mean of these rows.
    """

    points: Array
    count: int
    mean: float

    @classmethod
    def of(cls, values: Any) -> "Variable | None":
        """Keeps values `[N]`; None if none of them is a finite number."""
        values = np.ravel(np.asarray(values, np.float64))
        values = np.sort(values[np.isfinite(values)])
        if not len(values):
            return None
        mean = float(np.mean(values))
        points = values
        if len(values) > _MOST_POINTS:
            at = np.linspace(0, len(values) - 1, _MOST_POINTS)
            points = values[np.round(at).astype(int)]
        return cls(points, len(values), mean)

    def ranks(self, values: Array) -> Array:
        """The shares of the reference below values; of ties one half."""
        below = np.searchsorted(self.points, values)
        up_to = below.copy()
        last = len(self.points) - 1
        ties = self.points[np.minimum(below, last)] == values
        up_to[ties] = np.searchsorted(self.points, values[ties], "right")
        found = (below + up_to) / (2 * len(self.points))
        return np.where(np.isfinite(values), found, np.nan)

    def error(self, beta: float) -> float:
        """How far any share may be from the true one, but for probability beta.

        Args:
            beta: a probability.

        Reference:
            [Massart, 1990](https://doi.org/10.1214/aop/1176990746)
        """
        chance = np.sqrt(np.log(2 / beta) / (2 * self.count))
        is_thinned = self.count > len(self.points)
        return float(chance + is_thinned / len(self.points))

    def is_outside(self, values: Array) -> Array:
        """Says which values are far from any of the reference, `[n]`.

        They are outside of its range, widened by a tenth at each end.
        """
        low, high = self.points[0], self.points[-1]
        margin = 0.1 * (high - low)
        return (values < low - margin) | (values > high + margin)

    def bins(self, values: Array) -> Array:
        """Counts values between the deciles of the reference, `[10]`."""
        ranks = self.ranks(values)
        ranks = ranks[np.isfinite(ranks)]
        index = np.minimum((ranks * NUM_BINS).astype(int), NUM_BINS - 1)
        return np.bincount(index, minlength=NUM_BINS).astype(np.float64)

    def to_config(self) -> dict[str, Any]:
        """Returns what JSON can keep."""
        return {
            "points": self.points.tolist(),
            "count": self.count,
            "mean": self.mean,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Variable":
        """Makes the variable that a config is of."""
        return cls(np.array(config["points"]), config["count"], config["mean"])


def location(ranks: Array) -> Array:
    """What is tested of ranks: whether values are higher or lower."""
    return ranks


def spread(ranks: Array) -> Array:
    """What is tested of ranks: whether values are further from the middle."""
    return np.abs(2 * ranks - 1)


# By name: the number that is tested, and by how much it can vary along the line
# of values (its total variation), which multiplies the error of shares.
STATISTICS = {"location": (location, 1.0), "spread": (spread, 2.0)}


def claim(
    variable: Variable, statistic: str, beta: float
) -> tuple[float, float]:
    """The range that the mean of a statistic is in if nothing has changed."""
    function, variation = STATISTICS[statistic]
    center = float(np.mean(function(variable.ranks(variable.points))))
    error = variation * variable.error(beta)
    if variable.count > len(variable.points):
        error += variation / len(variable.points)
    return max(0.0, center - error), min(1.0, center + error)
