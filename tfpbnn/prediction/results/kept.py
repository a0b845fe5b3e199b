"""Defines what a prediction keeps where it has no draws."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tfpbnn.base.types import Array


class Averages(NamedTuple):
    """The averages that a prediction keeps in place of draws.

    Attributes:
        num_samples: the number of draws that the averages are over.
        summaries: the averages; see `Predictive.summaries`.
        quantiles: the known quantiles `[N, k]`, by their level.
        conformal: the sets or intervals that a server has answered, by name.
    """

    num_samples: int
    summaries: tuple[Array, ...]
    quantiles: Mapping[float, Array]
    conformal: Mapping[str, Array]

    def rescaled(self, scale: Array, offset: Array) -> "Averages":
        """Returns those of `scale * y + offset`, of numbers y."""
        mean, *variances = self.summaries

        def moved(parts: Mapping[Any, Array]) -> dict[Any, Array]:
            return {key: scale * y + offset for key, y in parts.items()}

        return Averages(
            self.num_samples,
            (scale * mean + offset, *(scale**2 * v for v in variances)),
            moved(self.quantiles),
            moved(self.conformal),
        )

    def of_rows(self, rows: Any) -> "Averages":
        """Takes some rows: by indices, a slice or a mask."""
        return Averages(
            self.num_samples,
            tuple(part[rows] for part in self.summaries),
            {level: part[rows] for level, part in self.quantiles.items()},
            {name: part[rows] for name, part in self.conformal.items()},
        )
