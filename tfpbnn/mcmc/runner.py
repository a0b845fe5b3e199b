"""Runs chains side by side, and keeps what they have drawn."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tree
from tfpbnn.mcmc.checkpoint import Checkpoint
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
        state, trace = program(self.state, plan.flags[rows], watched, data)
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


class Runner:
    """Moves groups of chains to the end of a plan, each in a thread.

    TensorFlow's programs run outside of Python's lock, so there are as many at
    a time as there are cores. A chain alone in its program never waits for the
    longer path of another.
    """

    def __init__(
        self,
        program: Program,
        plan: Plan,
        data: Tree,
        checkpoint: Checkpoint | None,
    ):
        self._program = program
        self._plan = plan
        self._data = keras.tree.map_structure(tf.constant, data)
        self._checkpoint = checkpoint
        self._stop = threading.Event()
        self._moved = threading.Condition()

    def compile(self, chains: Chains) -> None:
        """Compiles the program, before threads would all do so."""
        none = self._plan.flags[:0], self._plan.keep[:0]
        self._program(chains.state, *none, self._data)

    def run(self, groups: list[Chains], bar: Any) -> bool:
        """Runs until all is done, or interrupted.

        Args:
            groups: the chains.
            bar: told of each step.

        Returns:
            whether all was done.
        """
        count = min(
            len(groups),
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1,
        )
        with ThreadPoolExecutor(count) as pool:
            running = [pool.submit(self._advance, group) for group in groups]
            try:
                self._watch(running, groups, bar)
                finished = not self._stop.is_set()
            except KeyboardInterrupt:
                finished = False
            finally:
                self._stop.set()
                wait(running)
        for one in running:
            one.result()
        if self._checkpoint is not None:
            self._checkpoint.write(groups)
        return finished

    def _watch(
        self, running: list[Any], groups: list[Chains], bar: Any
    ) -> None:
        while not all(one.done() for one in running):
            with self._moved:
                self._moved.wait(timeout=0.2)
            bar.show(groups)
            if self._checkpoint is not None and self._checkpoint.is_due():
                self._checkpoint.write(groups)
            if any(one.done() and one.exception() for one in running):
                return
        bar.show(groups)

    def _advance(self, group: Chains) -> None:
        while group.done < len(self._plan.flags) and not self._stop.is_set():
            group.advance(self._program, self._plan, self._data)
            with self._moved:
                self._moved.notify_all()
