"""Defines what a prediction keeps where it has no draws."""

from collections.abc import Mapping
from typing import NamedTuple

from tfpbnn.base.types import Array


class Averages(NamedTuple):
    """The averages that a prediction keeps in place of draws.

    Attributes:
        num_samples: the number of draws that the averages are over.
        summaries: the averages; see `Predictive.summaries`.
        quantiles: the known quantiles `[N, k]`, by their level.
    """

    num_samples: int
    summaries: tuple[Array, ...]
    quantiles: Mapping[float, Array]
