"""Shares work among the devices of a strategy, outside of its replicas."""

import contextlib
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import tensorflow as tf

Item = TypeVar("Item")
Result = TypeVar("Result")

# Those that a function can be placed on: a TPU's are for `strategy.run` alone.
_KINDS = ("CPU", "GPU")
# Jobs of each device that are begun before the first of them is looked at.
_AHEAD = 2
_local = threading.local()


def current() -> str | None:
    """Returns the device that this thread's work was given; None for any.

    What is compiled there reads the copies of variables that are there.
    """
    return getattr(_local, "name", None)


def strategy_of(model: Any) -> Any:
    """Returns the strategy that shares a model's work; None if none does.

    As in Keras it is that which the model was built under. Any other model,
    such as a posterior that was made of one, takes that of the scope.

    Raises:
        ValueError: if the model was built under another strategy than that of
            the scope, or one that Keras does not know.
    """
    scope, own = tf.distribute.get_strategy(), model.distribute_strategy
    if own is not scope and tf.distribute.has_strategy():
        raise ValueError(
            "`model` must be used under the strategy that it was built under, "
            f"or outside of any scope. Received: {model.name}, built under "
            f"{_name(own)}, in the scope of another {_name(scope)}. Load a "
            "saved copy of the model in this scope"
        )
    if isinstance(own, tf.distribute.experimental.ParameterServerStrategy):
        raise ValueError(
            "The strategy must keep all weights on each device, as "
            "MirroredStrategy and MultiWorkerMirroredStrategy do. Received: "
            f"{_name(own)}, which Keras does not support"
        )
    is_none = own is scope and not tf.distribute.has_strategy()
    return None if is_none else own


def _name(strategy: Any) -> str:
    return type(strategy).__name__


class Devices:
    """The devices of this process that a strategy has, or the default one.

    Attributes:
        names: the devices' names; [None] for wherever TensorFlow puts it.
    """

    def __init__(self, strategy: Any = None):
        """Reads a strategy; None for no strategy."""
        names = [] if strategy is None else strategy.extended.worker_devices
        self._strategy = strategy
        self.names: list[str | None] = [
            name
            for name in names
            if tf.DeviceSpec.from_string(name).device_type in _KINDS
        ] or [None]

    @property
    def are_given(self) -> bool:
        """Whether a strategy says where work is done."""
        return self.names != [None]

    def first(self) -> "Devices":
        """Returns the first device alone."""
        found = Devices(self._strategy)
        found.names = found.names[:1]
        return found

    @contextlib.contextmanager
    def on(self, name: str | None) -> Iterator[None]:
        """Runs what is inside on one of the devices."""
        if name is None:
            yield
            return
        before, _local.name = current(), name
        try:
            with self._strategy.scope(), tf.device(name):
                yield
        finally:
            _local.name = before

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Pairs each item with what a function gives for it, in order.

        With several devices, the next item is for whichever is free, and each
        has a thread. Items are taken in this thread, not far ahead of what is
        given.
        """
        if len(self.names) == 1:
            for item in items:
                with self.on(self.names[0]):
                    found = function(item)
                yield item, found
            return
        free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for name in self.names:
            free.put(name)

        def run(item: Item) -> Result:
            name = free.get()
            try:
                with self.on(name):
                    return function(item)
            finally:
                free.put(name)

        yield from _in_order(run, items, len(self.names))


def _in_order(
    run: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Runs items in threads; yields them in order with what was found."""
    running: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            # Each with its own copy of what the caller has decided.
            context = contextvars.copy_context()
            running.append((item, pool.submit(context.run, run, item)))
            if len(running) > _AHEAD * threads:
                first, future = running.popleft()
                yield first, future.result()
        while running:
            first, future = running.popleft()
            yield first, future.result()
    finally:
        for _, future in running:
            future.cancel()
        wait([future for _, future in running])
        pool.shutdown()
