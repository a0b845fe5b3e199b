"""The parts that a prediction is made of, and what is kept of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tfpbnn.particles import functions


class Keeper(Protocol):
    """Decides what is kept of outputs."""

    def take(self, outputs: Any) -> Any:
        """What is kept of the outputs of some draws, `[d, B, ...]`."""

    def piece(self, taken: Sequence[Any], masks: list[Any]) -> Any:
        """Joins what was taken of all draws of some rows with their masks."""


class Part(NamedTuple):
    """Some draws of some rows, which one call of a function makes.

    Attributes:
        function: makes them.
        x: the rows.
        turn: the number of the piece, or batch, that workers take turns by.
        first_row: the index of the first of them.
        start: the index of the first draw.
        stop: one past the index of the last.
        ends_piece: whether it is the last of these rows.
        batches: how many batches are done with it; 0 if one is not yet.
    """

    function: functions.DrawFunction
    x: Any
    turn: int
    first_row: int
    start: int
    stop: int
    ends_piece: bool
    batches: int
