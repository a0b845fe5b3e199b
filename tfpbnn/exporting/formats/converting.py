"""Converters are run without their output, and their errors shortened."""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any


def converted(kind: str, convert: Callable[[], Any]) -> Any:
    """Gives the result of `convert`, without what it prints.

    Args:
        kind: the name of the format.
        convert: a function of nothing.

    Raises:
        ValueError: if it fails, with the operations that the format lacks.
    """
    try:
        with quiet():
            return convert()
    except Exception as error:
        raise ValueError(
            f"`posterior` must have operations that {kind} knows, for "
            f'format="{kind.lower()}". Received: {_reason(str(error))}. '
            'Use format="savedmodel", leave out the layers that need them, or '
            'make them of other operations and of the type "float32".'
        ) from error


# How converters name an operation that they lack, or not for its types.
_LACKED = re.compile(
    r"'tfl?\.(\w+)' op |TF Select ops: ([\w, ]+)|No Op registered for (\w+)"
)


def _reason(message: str) -> str:
    """Returns what a converter says, without where in its code that was."""
    found = {
        name
        for groups in _LACKED.findall(message)
        for name in ", ".join(filter(None, groups)).split(", ")
    }
    if found:
        return f"operations or types of them that it lacks, {sorted(found)}"
    line = next(filter(None, map(str.strip, message.split("\n"))), "")
    return "of which it says: " + line.rsplit("): ", 1)[-1][:200].rstrip(".")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what converters print and log."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
