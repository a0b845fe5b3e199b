"""Draws of a model's layers."""

import math
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.stacking import unflatten
from tfpbnn.base.types import Tensor
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.members.base import MembersLayer
from tfpbnn.networks.calls import Tensors
from tfpbnn.networks.posterior import keras_spec
from tfpbnn.networks.reading import can_read, layers_of, open_spec
from tfpbnn.particles import rows as of_rows
from tfpbnn.particles.costs import Costs, count
from tfpbnn.particles.functions import (
    DrawFunction,
    keys_and_signs,
    over_means,
    wide,
)
from tfpbnn.particles.split import DrawGraph, is_random


class LayerDraws(DrawFunction):
    """A model's outputs for draws of its random layers.

    What no random layer has touched is computed once for all draws. From there
    on, draws go through the network one by one, in a loop in the graph, or all
    at once, `[S * B, ...]`, where operations are so small that the loop would
    take longer than its work.
    """

    def __init__(self, model: keras.Model, x: Any, antithetic: bool):
        super().__init__(open_spec(model, x))
        # The function is kept with the model: it must not keep the model alive.
        self._model = weakref.ref(model)
        self._antithetic = antithetic
        self._graph = DrawGraph(model) if can_read(model) else None
        self._costs: dict[tuple[Any, ...], Costs] = {}
        self.num_random_layers = (
            len(self._graph.random_calls) if self._graph else 0
        )
        self.num_draws = _num_draws(model)
        self.num_means = _num_means(model)
        self.has_mean = self.num_draws is None and self.num_means == 1

    def costs(self, x: Any) -> Costs:
        shapes = tuple(tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(x))
        if shapes not in self._costs:
            self._costs[shapes] = count(self._graph, x)
        return self._costs[shapes]

    def trace(self, kind: str, x: Any, *arguments: Tensor) -> Any:
        model = self._model()
        assert model is not None
        tensors = None if self._graph is None else self._graph.before(x)
        after = self._after(model, x, tensors)
        if kind == "mean":
            return over_means(
                lambda number: after(random.DrawScope(None, numbers=number)),
                self.num_means,
                self._output_types(model, x),
            )
        known = self._before_draws()
        if kind == "one":
            key, number = arguments
            return after(self._scope(key, number, known))
        key, start, stop, *more = arguments
        (rows,) = more or (None,)
        if rows is not None:
            known |= self._output_noise(tensors, rows)
            rows = rows if kind == "apart" else None
        if kind.endswith("loop"):
            # Two at a time: the noise of one hides behind the products of
            # another.
            return tf.map_fn(
                lambda number: after(self._scope(key, number, known)),
                tf.range(start, stop),
                parallel_iterations=2,
                fn_output_signature=self._output_types(model, x),
            )
        numbers = tf.range(start, stop)
        keys, signs = keys_and_signs(key, numbers, self._antithetic)
        scope = random.DrawScope(keys, rows, signs, known, numbers)
        count = tf.cast(stop - start, tf.int32)
        return keras.tree.map_structure(
            lambda y: unflatten(y, count), after(scope)
        )

    def _after(
        self, model: keras.Model, x: Any, tensors: Tensors | None
    ) -> Callable[[random.DrawScope], Any]:
        """The rest of the network, after what all draws have in common."""
        graph, dtype = self._graph, wide(model)

        def after(scope: random.DrawScope) -> Any:
            with random.entered(scope):
                if graph is None or tensors is None:
                    outputs = model(x, training=False)
                    self.num_random_layers = scope.num_layers
                else:
                    outputs = graph.after(tensors, scope)
            return keras.tree.map_structure(
                lambda y: tf.cast(y, dtype), outputs
            )

        return after

    def _scope(
        self, key: Tensor, number: Tensor, known: dict[int, Any]
    ) -> random.DrawScope:
        """That of the draw of this number."""
        own_key, sign = keys_and_signs(key, number, self._antithetic)
        return random.DrawScope(own_key, None, sign, known, number)

    def _output_types(self, model: keras.Model, x: Any) -> Any:
        if self._graph is not None:
            outputs = self._graph.outputs
        else:
            outputs = model.compute_output_spec(keras_spec(x))
        return keras.tree.map_structure(lambda _: wide(model), outputs)

    def _before_draws(self) -> dict[int, Any]:
        """What draws of a posterior have in common, by its id."""
        calls = self._graph.random_calls if self._graph else []
        posteriors = [
            posterior
            for call in calls
            if isinstance(call.op, VariationalLayer)
            for posterior in call.op.posteriors
        ]
        return {id(p): p.before_draws() for p in posteriors}

    def _output_noise(self, tensors: Any, rows: Tensor) -> dict[int, Any]:
        """What first random layers need to draw outputs, by the layer's id."""
        assert self._graph is not None
        found = {}
        for call in of_rows.first_calls(self._graph):
            x, *_ = call.inputs
            found[id(call.op)] = call.op.output_noise(tensors[id(x)], rows)
        return found


def _num_means(model: keras.Model) -> int:
    """How many members the model has, each with means of its own."""
    counts = [
        layer.num_members
        for layer in layers_of(model)
        if isinstance(layer, MembersLayer)
    ]
    return math.lcm(*counts)


def _num_draws(model: keras.Model) -> int | None:
    """How many different draws the model has; None if there is no end."""
    counts: list[Any] = [
        getattr(layer, "num_draws", None)
        for layer in layers_of(model)
        if is_random(layer) and not layers_of(layer)
    ]
    return math.lcm(*counts) if counts and None not in counts else None
