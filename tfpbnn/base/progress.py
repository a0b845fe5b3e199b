"""Shows Keras's progress bar for work of the package's own."""

import math
import time
from collections.abc import Mapping
from typing import Any

import keras

# With verbose="auto", the bar appears on work that takes longer (seconds): half
# of it was waited for already, and half is to come.
_QUIET = 2.0


class Bar:
    """A progress bar of Keras's, shown at once, never, or when work is long."""

    def __init__(self, verbose: Any):
        """Starts the clock.

        Args:
            verbose: "auto" (if it takes over 2 s), 0 or 1.

        Raises:
            ValueError: if `verbose` has another value.
        """
        if verbose not in ("auto", 0, 1, 2, True, False):
            raise ValueError(
                f'`verbose` must be "auto", 0 or 1. Received: {verbose!r}'
            )
        self._total: int | None = None
        self._verbose = verbose
        self._done = 0
        self._is_shown = False
        self._names: set[str] = set()
        self._started = time.monotonic()
        # It prints nothing before its first update, and has a clock too.
        self._bar = keras.utils.Progbar(None, verbose=1)

    def expect(self, total: int | None) -> None:
        """Sets the number of steps, unless a step was done."""
        if self._done == 0:
            self._total = total
            self._bar = keras.utils.Progbar(total, verbose=1)

    def step(
        self, count: int = 1, values: Mapping[str, float] | None = None
    ) -> None:
        """Counts more steps.

        Args:
            count: the number of steps.
            values: the numbers to show beside the bar, by name.
        """
        self._done += count
        self._is_shown = self._is_shown or self._is_due()
        if self._is_shown:
            items = [(k, float(v)) for k, v in (values or {}).items()]
            self._names |= {name for name, _ in items}
            self._bar.stateful_metrics = self._names  # shown, not averaged
            self._bar.update(self._done, items, finalize=False)

    def _is_due(self) -> bool:
        """Says whether the bar is to be shown: not when work is done."""
        if self._verbose != "auto":
            return bool(self._verbose)
        elapsed = time.monotonic() - self._started
        left = elapsed * ((self._total or math.inf) / self._done - 1)
        return min(elapsed, left) > _QUIET / 2

    def close(self) -> None:
        """Ends the bar's line, if it is shown."""
        if self._is_shown:
            self._bar.update(self._done, finalize=True)
