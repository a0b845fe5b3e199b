"""Chains on their way, and what they have drawn so far."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfpbnn.base.types import Array, Tree
from tfpbnn.mcmc.program import MOST_STEPS, ChainState, Program, Trace

# A call that takes longer than this is deaf to an interrupt for too long.
_SECONDS = 0.5


class Plan(NamedTuple):
    """What all chains do.

    Attributes:
        flags: of each step, as from `adaptation.schedule`.
        keep: whether its position is kept, of each.
        num_warmup: how many steps of them are warm-up.
    """

    flags: Array
    keep: Array
    num_warmup: int


class Chains:
    """A group of chains that one program moves at once, and their draws."""

    def __init__(self, state: ChainState, traces: Sequence[Trace] = ()):
        self.state = state
        self.last: Trace | None = None
        self._traces = list(traces)
        self.num_divergent = sum(int(t.is_divergent.sum()) for t in traces)
        self._steps = 1
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        """How many steps were made."""
        return int(self.state.step)

    def advance(self, program: Program, plan: Plan, data: Tree) -> None:
        """Makes some more steps: as many as take a moment."""
        start = self.done
        # Calls end where warm-up does, so that each is of one kind.
        edge = plan.num_warmup if start < plan.num_warmup else len(plan.flags)
        rows = slice(start, min(start + self._steps, edge))
        keep = plan.keep[rows]
        watched = keep if start >= plan.num_warmup else np.ones_like(keep)
        began = time.monotonic()
        state, trace = program(self.state, plan.flags, watched, data)
        arrays = Trace(*(t.numpy() for t in trace))
        took = time.monotonic() - began
        if took < _SECONDS / 2:
            self._steps = min(2 * self._steps, MOST_STEPS)
        elif took > _SECONDS:
            self._steps = max(1, self._steps // 2)
        if len(arrays.log_prob):
            self.last = arrays
        with self._lock:
            self.state = state
            if start >= plan.num_warmup and len(arrays.log_prob):
                self._traces.append(arrays)
                self.num_divergent += int(arrays.is_divergent.sum())

    def snapshot(self) -> tuple[ChainState, Trace | None]:
        """Where the chains are, and all draws up to there.

        Draws are `[draws, C, ...]`, or None if there are none yet.
        """
        with self._lock:
            if len(self._traces) > 1:
                parts = zip(*self._traces, strict=True)
                self._traces = [Trace(*map(np.concatenate, parts))]
            return self.state, self._traces[0] if self._traces else None
