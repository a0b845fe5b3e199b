"""Objects that stand in for layers, with some methods of their own.

A stand-in has the weights, the class and all else of its layer. So one call can
do something in the midst of a user's layer that Keras has no argument for, and
the layer stays as it is, also for other threads.
"""

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import keras

from tfpbnn.base.keras_private import FUNCTIONAL, nodes_by_depth

# Functions by the name of the method that they are for: the first argument of
# each is the stand-in.
Methods = Mapping[str, Callable[..., Any]]


class StandIns:
    """Makes the stand-ins of a layer and of the layers that it holds.

    What holds no layer with other methods stands for itself.
    """

    def __init__(self, methods: Callable[[Any], Methods | None]):
        """Nothing is made yet.

        Args:
            methods: gives those that the stand-in of a layer is to have; none
                for most, and None for a layer that is not even to be looked
                into.
        """
        self._methods = methods
        self._made: dict[int, Any] = {}

    def of(self, layer: Any) -> Any:
        """The stand-in of a built layer; the layer itself if it needs none."""
        if id(layer) not in self._made:
            self._made[id(layer)] = layer  # for what refers back to it
            self._made[id(layer)] = self._make(layer)
        return self._made[id(layer)]

    def _make(self, layer: Any) -> Any:
        methods = self._methods(layer)
        if methods is None:
            return layer
        before = dict(vars(layer))
        after = {name: self._exchanged(part) for name, part in before.items()}
        if isinstance(layer, FUNCTIONAL):
            after |= nodes_by_depth(layer, self.of)
        if not methods and all(after[name] is before[name] for name in before):
            return layer
        new = object.__new__(type(layer))
        for name, part in after.items():
            is_own = isinstance(part, MethodType) and part.__self__ is layer
            vars(new)[name] = MethodType(part.__func__, new) if is_own else part
        for name, function in methods.items():
            vars(new)[name] = MethodType(function, new)
        return new

    def _exchanged(self, part: Any) -> Any:
        """An attribute's value, with stand-ins for the layers in it."""
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
