"""Makes objects that stand in for layers, with some other methods.

A stand-in has the weights, the class and all else of its layer. So one call can
do something in the midst of a user's layer that Keras has no argument for, and
the layer stays as it is, also for other threads.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MethodType
from typing import Any

import keras

from tfpbnn.base.keras_private import FUNCTIONAL, nodes_by_depth

# By name, what differs from the layer's. Functions become methods: the first
# argument of each is the stand-in.
Attributes = Mapping[str, Any]


class StandIns:
    """Makes the stand-ins of a layer and of the layers that it holds.

    A layer in which nothing differs stands for itself.
    """

    def __init__(self, attributes: Callable[[Any], Attributes | None]):
        """Begins without stand-ins.

        Args:
            attributes: a function that returns the attributes of a layer's
                stand-in that differ: none for most layers, and None for a layer
                whose parts are not to be looked at.
        """
        self._attributes = attributes
        self._made: dict[int, Any] = {}

    def of(self, layer: Any) -> Any:
        """Returns the stand-in of a built layer; itself if it needs none."""
        if id(layer) not in self._made:
            self._made[id(layer)] = layer  # for what refers back to it
            self._made[id(layer)] = self._make(layer)
        return self._made[id(layer)]

    def _make(self, layer: Any) -> Any:
        own = self._attributes(layer)
        if own is None:
            return layer
        before = dict(vars(layer))
        after = {name: self._exchanged(part) for name, part in before.items()}
        if isinstance(layer, FUNCTIONAL):
            after |= nodes_by_depth(layer, self.of)
        if not own and all(after[name] is before[name] for name in before):
            return layer
        new = object.__new__(type(layer))
        for name, part in after.items():
            is_own = isinstance(part, MethodType) and part.__self__ is layer
            vars(new)[name] = MethodType(part.__func__, new) if is_own else part
        for name, part in own.items():
            vars(new)[name] = MethodType(part, new) if callable(part) else part
        return new

    def _exchanged(self, part: Any) -> Any:
        """Puts stand-ins for layers into an attribute's value."""
        if isinstance(part, keras.layers.Layer):
            return self.of(part)
        if isinstance(part, MethodType):
            owner = self._exchanged(part.__self__)
            is_same = owner is part.__self__
            return part if is_same else MethodType(part.__func__, owner)
        if isinstance(part, dict):
            values = {
                key: self._exchanged(value) for key, value in part.items()
            }
            is_same = all(values[key] is part[key] for key in values)
            return part if is_same else values
        if isinstance(part, list | tuple):
            items = [self._exchanged(item) for item in part]
            if all(a is b for a, b in zip(items, part, strict=True)):
                return part
            if hasattr(part, "_fields"):
                return type(part)(*items)
            return items if isinstance(part, list) else tuple(items)
        return part


_local = threading.local()


@contextlib.contextmanager
def calling(stand_ins: StandIns) -> Iterator[None]:
    """Makes this thread call stand-ins, wherever it asks for `callee`."""
    _local.stand_ins = stand_ins
    try:
        yield
    finally:
        _local.stand_ins = None


def callee(layer: Any) -> Any:
    """Returns what this thread is to call in place of a layer."""
    stand_ins = getattr(_local, "stand_ins", None)
    is_layer = isinstance(layer, keras.layers.Layer)
    return stand_ins.of(layer) if is_layer and stand_ins else layer
