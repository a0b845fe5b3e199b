"""Runs converters without their output, and shortens their errors."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any


def converted(kind: str, convert: Callable[[], Any]) -> Any:
    """The result of `convert`, without its output, with errors of one line."""
    try:
        with quiet():
            return convert()
    except Exception as error:
        reason = str(error).split("\n", 1)[0][:500]
        raise ValueError(
            f"`posterior` has operations that {kind} does not: {reason}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what converters print and log."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
