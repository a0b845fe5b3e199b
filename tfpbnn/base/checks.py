"""Checks of arguments: each raises an error that names the argument.

A check takes the argument's name and its value, and gives the value back, as a
plain `int` or `float` where it is a number.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from tfpbnn.base.types import Shape

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Check(Generic[T]):
    """A check of one argument, called with its name and value.

    Attributes:
        expected: what follows "must be" in the error.
        fits: whether a value is such.
        convert: makes what the check returns.
    """

    expected: str
    fits: Callable[[Any], bool]
    convert: Callable[[Any], T]

    def __call__(self, name: str, value: Any) -> T:
        if not self.fits(value):
            raise ValueError(
                f"`{name}` must be {self.expected}. Received: {name}={value!r}"
            )
        return self.convert(value)

    def optional(self, name: str, value: Any, meaning: str = "") -> T | None:
        """The same check of an argument that may be None.

        Args:
            name: the argument's.
            value: the argument.
            meaning: what None stands for, for the error.
        """
        if value is None:
            return None
        none = f"None ({meaning})" if meaning else "None"
        expected = f"{none} or {self.expected}"
        return dataclasses.replace(self, expected=expected)(name, value)


def number(expected: str, fits: Callable[[Any], bool]) -> Check[float]:
    """A check that the argument is a real number in some range."""
    return Check(
        expected, lambda v: isinstance(v, numbers.Real) and fits(v), float
    )


positive_number = number(
    "a positive, finite number", lambda v: 0 < v < math.inf
)
non_negative = number("a finite number >= 0", lambda v: 0 <= v < math.inf)
finite = number("a finite number", math.isfinite)
fraction = number("a number from 0 to 1", lambda v: 0 <= v <= 1)
open_fraction = number(
    "a number between 0 and 1, exclusive", lambda v: 0 < v < 1
)
# A probability to drop something.
rate = number("a number from 0 to below 1", lambda v: 0 <= v < 1)


def _is_integer(value: Any, least: float = -math.inf) -> bool:
    is_integer = isinstance(value, int | np.integer)
    return is_integer and not isinstance(value, bool) and value >= least


any_integer = Check("an integer", _is_integer, int)
positive_integer = Check("a positive integer", lambda v: _is_integer(v, 1), int)


def integer(name: str, value: Any, *, least: int) -> int:
    """Checks that the argument is an integer of `least` or more."""
    expected = f"an integer of {least} or more"
    return Check(expected, lambda v: _is_integer(v, least), int)(name, value)


def integers(
    name: str, value: Any, rank: int, *, least: int = 1
) -> tuple[int, ...]:
    """Gives `rank` integers, from one integer or a sequence of them."""
    try:
        values = (value,) * rank if _is_integer(value) else tuple(value)
        fits = len(values) == rank and all(
            _is_integer(v, least) for v in values
        )
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must be an integer of {least} or more, or {rank} of "
            f"them. Received: {name}={value!r}"
        )
    return tuple(map(int, values))


def one_of(name: str, value: T, known: Sequence[T]) -> T:
    """Checks that the argument is one of the known values."""
    if value not in known:
        raise ValueError(
            f"`{name}` must be one of {list(known)}. Received: {name}={value!r}"
        )
    return value


def seed(value: Any) -> int | None:
    """Checks that a seed is None or an integer; else it is a TypeError."""
    if value is not None and not isinstance(value, int | np.integer):
        raise TypeError(
            f"`seed` must be None or an integer. Received: seed={value!r}"
        )
    return None if value is None else int(value)


def agree(a: Sequence[int | None], b: Sequence[int | None]) -> bool:
    """Whether two shapes are equal as far as they are known."""
    return len(a) == len(b) and all(
        x is None or y is None or x == y for x, y in zip(a, b, strict=True)
    )


def broadcasts(shape: Shape, to: Shape) -> bool:
    """Whether `shape` has size 1 wherever it differs."""
    return agree([n if n != 1 else None for n in shape], to)
