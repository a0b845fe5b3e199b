"""Defines the ways in which draws of a model are made."""

import dataclasses
import enum


class Draws(enum.Enum):
    """The kinds of draws, by the names that users know.

    Attributes:
        COHERENT: weights are drawn, the same for every row.
        MARGINAL: outputs of all random layers are drawn, for each row apart.
        MIXED: outputs are drawn of those layers whose inputs all draws share,
            and weights of the others.
        MEAN: nothing is drawn; the weights are the posterior means.
    """

    COHERENT = "coherent"
    MARGINAL = "marginal"
    MIXED = "mixed"
    MEAN = "mean"

    @property
    def is_by_row(self) -> bool:
        """Whether a row's draws depend on its index."""
        return self in (Draws.MARGINAL, Draws.MIXED)


@dataclasses.dataclass(frozen=True)
class Way:
    """A kind of draws, and how draws go through the network.

    Attributes:
        draws: the kind of draws.
        is_stacked: whether all draws go through at once, `[S * B, ...]`; else
            one by one, in a loop. Marginal draws are always stacked.
    """

    draws: Draws
    is_stacked: bool = False


LOOPED = Way(Draws.COHERENT)
STACKED = Way(Draws.COHERENT, is_stacked=True)
MARGINAL = Way(Draws.MARGINAL, is_stacked=True)
MEAN = Way(Draws.MEAN)
