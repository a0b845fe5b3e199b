"""Predictions as printed tables."""

import itertools
from collections.abc import Mapping

from tfpbnn.base.types import Array

# The width of a printed table, in characters.
_MOST_WIDE = 100


def table(head: str, columns: Mapping[str, Array], num_rows: int) -> str:
    """The first rows of a prediction, below a line that says what it is.

    Args:
        head: that line.
        columns: of the rows that are shown, by name.
        num_rows: how many rows there are.
    """
    cells = [_column(name, values) for name, values in columns.items()]
    widths = itertools.accumulate(len(column[0]) for column in cells)
    shown = sum(width <= _MOST_WIDE for width in widths)
    lines = [head, *map("".join, zip(*cells[:shown], strict=True))]
    if num_rows > len(cells[0]) - 1 or shown < len(cells):
        hidden = len(cells) - shown
        more = f" (and {hidden} more columns)" if hidden else ""
        lines.append(f"  ...{more}")
    return "\n".join(lines)


def _column(name: str, values: Array) -> list[str]:
    """A name and its values, all of one width."""
    cells = [name, *(f"{value:.4g}" for value in values)]
    width = max(map(len, cells)) + 2
    return [f"{cell:>{width}}" for cell in cells]
