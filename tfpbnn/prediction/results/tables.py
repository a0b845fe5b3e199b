"""Makes tables of predictions, and prints them."""

import itertools
import math
from collections.abc import Mapping

import numpy as np

from tfpbnn.base.types import Array

# The width of a printed table, in characters.
_MOST_WIDE = 100


def table(head: str, columns: Mapping[str, Array], num_rows: int) -> str:
    """Formats the first rows of a prediction, below a line of description.

    Args:
        head: the line of description.
        columns: the values of the rows that are shown, by name.
        num_rows: the number of all rows.
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


def flat(columns: Mapping[str, Array]) -> dict[str, Array]:
    """Makes columns `[N]` of arrays `[N, ...]`.

    If an array has several, all names end in the number of the column.
    """
    found = {
        name: np.reshape(values, [len(values), math.prod(values.shape[1:])])
        for name, values in columns.items()
    }
    size = max(values.shape[1] for values in found.values())
    return {
        name if size == 1 else f"{name}_{i}": values[:, i]
        for i in range(size)
        for name, values in found.items()
    }


def _column(name: str, values: Array) -> list[str]:
    """Formats a name and its values, all of one width."""
    cells = [name, *(f"{value:.4g}" for value in values)]
    width = max(map(len, cells)) + 2
    return [f"{cell:>{width}}" for cell in cells]
