"""Calls are tried again here if no server was reached."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
# Of no seed: clients that are seeded alike would all come back at once.
_jitter = random.SystemRandom()


def call(function: Callable[[], ResultT], max_retries: int) -> ResultT:
    """Returns a function's result; calls again after a ConnectionError.

    Waits between half of and all of 0.1, 0.2, 0.4, ... seconds, 10 at most.

    Args:
        function: no arguments; may be called `max_retries + 1` times.
        max_retries: how often to try again.
    """
    for attempt in range(max_retries):
        try:
            return function()
        except ConnectionError:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)
            time.sleep(wait * _jitter.uniform(0.5, 1.0))
    return function()
