"""Runs chains side by side, and keeps what they have drawn."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.cores import num_cores
from tfpbnn.base.types import Tree
from tfpbnn.distribute.devices import Devices
from tfpbnn.mcmc.chains import Chains, Plan
from tfpbnn.mcmc.checkpoint import Checkpoint
from tfpbnn.mcmc.program import Program


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
        devices: Devices,
    ):
        self._program = program
        self._plan = plan
        self._devices = devices
        self._data = []
        for name in devices.names:
            with devices.on(name):
                self._data.append(keras.tree.map_structure(tf.constant, data))
        self._checkpoint = checkpoint
        self._stop = threading.Event()
        self._moved = threading.Condition()

    def compile(self, groups: list[Chains]) -> None:
        """Compiles the program, before threads would all do so."""
        none = self._plan.keep[:0]
        pairs = zip(self._devices.names, self._data, groups, strict=False)
        for name, data, group in pairs:
            with self._devices.on(name):
                self._program(group.state, self._plan.flags, none, data)

    def run(self, groups: list[Chains], bar: Any) -> bool:
        """Runs until all is done, or interrupted.

        Args:
            groups: the chains.
            bar: told of each step.

        Returns:
            whether all was done.
        """
        count = max(num_cores(), len(self._devices.names))
        with ThreadPoolExecutor(max(1, min(len(groups), count))) as pool:
            running = [
                pool.submit(self._advance, group, number)
                for number, group in enumerate(groups)
            ]
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

    def _advance(self, group: Chains, number: int) -> None:
        """Moves chains to the end, on the device whose turn it is."""
        place = number % len(self._devices.names)
        data, total = self._data[place], len(self._plan.flags)
        with self._devices.on(self._devices.names[place]):
            while group.done < total and not self._stop.is_set():
                group.advance(self._program, self._plan, data)
                with self._moved:
                    self._moved.notify_all()
