"""Windows of time, or of so many predictions, and how they are written."""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tfpbnn.base import checks

Window = int | datetime.timedelta
_UNITS = {
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}


def checked(window: Any) -> Window:
    """Checks a window: a timedelta, a number of predictions, or a text.

    Args:
        window: texts are such as "7d" (w, d, h, m, s), or "1000".

    Raises:
        ValueError: if it is nothing of that, or not positive.
    """
    found = window
    if isinstance(window, str):
        match = re.fullmatch(r"(\d+)([smhdw]?)", window.strip())
        if match:
            number = int(match[1])
            unit = _UNITS.get(match[2])
            found = datetime.timedelta(**{unit: number}) if unit else number
    if isinstance(found, datetime.timedelta):
        if found > datetime.timedelta(0):
            return found
    elif not isinstance(found, str):
        return checks.positive_integer("window", found)
    raise ValueError(
        "`window` must be a positive number of predictions or timedelta, or "
        f"a text such as '7d' or '1000'. Received: window={window!r}"
    )


def since(window: Window, now: float) -> float:
    """The time at which a window begins; that of a number has no beginning."""
    if isinstance(window, datetime.timedelta):
        return now - window.total_seconds()
    return float("-inf")


def within(window: Window, buckets: Iterable[Any]) -> Iterator[Any]:
    """Takes buckets, the newest first, until they have enough rows."""
    if isinstance(window, datetime.timedelta):
        yield from buckets
        return
    rows = 0
    for bucket in buckets:
        if rows >= window:
            return
        rows += bucket.predictions
        yield bucket


def utc(time: float) -> datetime.datetime:
    """Reads a time in UTC, since servers and readers may be anywhere."""
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc)


def words(window: Window) -> str:
    """Describes a window in words."""
    if isinstance(window, datetime.timedelta):
        return f"the last {spelled(window.total_seconds())}"
    return f"the last {window:,} predictions, in whole buckets"


def spelled(seconds: float) -> str:
    """Writes a time in its largest unit, such as "2.5 hours"."""
    units = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
    fits = (unit for unit, size in units.items() if seconds >= size)
    unit = next(fits, "seconds")
    number = f"{seconds / units[unit]:.3g}"
    return f"{number} {unit[:-1] if number == '1' else unit}"
