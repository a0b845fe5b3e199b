"""Keras's progress bar for work of the package's own."""

import math
import time
from typing import Any

import keras

# With verbose="auto", the bar appears on work that takes longer (seconds).
_QUIET = 2.0


class Bar:
    """Keras's progress bar, shown at once, never, or when work is long."""

    def __init__(self, verbose: Any):
        """Starts the clock.

        Args:
            verbose: "auto" (if it will take over 2 s), 0 or 1.

        Raises:
            ValueError: if `verbose` is something else.
        """
        if verbose not in ("auto", 0, 1, 2, True, False):
            raise ValueError(
                f'`verbose` must be "auto", 0 or 1. Received: {verbose!r}'
            )
        self._total: int | None = None
        self._verbose = verbose
        self._done = 0
        self._started = time.monotonic()
        self._bar: Any = None

    def expect(self, total: int | None) -> None:
        """Says how many steps there will be, if it was not said yet."""
        if self._done == 0:
            self._total = total

    def step(self) -> None:
        """Says that one more is done."""
        self._done += 1
        elapsed = time.monotonic() - self._started
        if self._bar is None and self._verbose:
            expected = elapsed * (self._total or math.inf) / self._done
            is_long = elapsed > _QUIET / 2 and expected > _QUIET
            if self._verbose != "auto" or is_long:
                self._bar = keras.utils.Progbar(self._total, verbose=1)
        if self._bar is not None:
            self._bar.update(self._done, finalize=False)

    def close(self) -> None:
        """Ends the line, if there is a bar."""
        if self._bar is not None:
            self._bar.update(self._done, finalize=True)
