"""Draws a model's layers."""

import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import forms
from tfpbnn.base.stacking import unflatten
from tfpbnn.base.types import Tensor
from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.networks.calls import Tensors
from tfpbnn.networks.posterior import keras_spec
from tfpbnn.networks.reading import can_read, open_spec
from tfpbnn.networks.stand_ins import callee
from tfpbnn.particles import rows as of_rows
from tfpbnn.particles.costs import Costs, count
from tfpbnn.particles.effects import check_posteriors, effects_of
from tfpbnn.particles.functions import DrawFunction, over_means, wide
from tfpbnn.particles.split import DrawGraph
from tfpbnn.particles.state import DrawState
from tfpbnn.particles.ways import Draws, Way

# The rest of a network in a scope, after what all draws have in common.
After = Callable[[random.DrawScope], Any]


class LayerDraws(DrawFunction):
    """Computes a model's outputs for draws of its random layers.

    Layers before the first random ones are computed once for all draws. After
    that, draws go through the network one by one, in a loop in the graph, or
    all at once, `[S * B, ...]`, if operations are so small that the loop would
    take longer than its work.
    """

    def __init__(self, model: keras.Model, x: Any, antithetic: bool):
        specs = open_spec(model, x)
        check_posteriors(model)
        self._graph = DrawGraph(model) if can_read(model) else None
        effects = (
            self._graph.effects
            if self._graph
            else effects_of(model, model, lambda: specs)
        )
        super().__init__(specs, antithetic, effects)
        # The function is kept with the model, and needs no hold of its own.
        self._model = weakref.ref(model)
        self._costs: dict[tuple[Any, ...], Costs] = {}
        self.num_draws, self.num_means = effects.num_draws, effects.num_means
        self.has_mean = effects.has_mean

    def costs(self, x: Any) -> Costs:
        shapes = tuple(map(forms.sizes, keras.tree.flatten(x)))
        if shapes not in self._costs:
            self._costs[shapes] = count(self._graph, x)
        return self._costs[shapes]

    def trace(
        self,
        way: Way,
        x: Any,
        key: Tensor,
        start: Tensor,
        stop: Tensor,
        rows: Tensor | None = None,
    ) -> Any:
        tensors, after = self._split(x)
        known = self._before_draws()
        if rows is not None:
            known |= self._output_noise(tensors, rows)
        if way.draws is Draws.MIXED:  # what comes after is coherent
            rows = None
        if not way.is_stacked:
            return self._looped(
                lambda index: after(self._scope(key, index, known=known)),
                start,
                stop,
                self._output_types(x),
            )
        outputs = after(self._scope(key, tf.range(start, stop), rows, known))
        size = tf.cast(stop - start, tf.int32)
        return keras.tree.map_structure(lambda y: unflatten(y, size), outputs)

    def trace_one(
        self, x: Any, key: Tensor | None, index: Tensor, leaves: bool = False
    ) -> Any:
        _, after = self._split(x, leaves)
        return after(self._scope(key, index, known=self._before_draws()))

    def trace_mean(self, x: Any) -> Any:
        _, after = self._split(x)
        return over_means(after, self.num_means, self._output_types(x))

    def network(self) -> Any:
        return self._model()

    def _split(
        self, x: Any, leaves: bool = False
    ) -> tuple[Tensors | None, After]:
        """Computes what all draws share; returns it, and the rest to do."""
        model, graph = self._model(), self._graph
        assert model is not None
        dtype = wide(model)
        with DrawState(None, ()):
            tensors = None if graph is None else graph.before(x)

        def after(scope: random.DrawScope) -> Any:
            with self._in_draw(scope, leaves):
                if graph is None or tensors is None:
                    outputs = callee(model)(x, training=False)
                else:
                    outputs = graph.after(tensors, scope)
            return keras.tree.map_structure(
                lambda y: tf.cast(y, dtype), outputs
            )

        return tensors, after

    def _output_types(self, x: Any) -> Any:
        model: Any = self._model()
        if self._graph is not None:
            outputs = self._graph.outputs
        else:
            outputs = model.compute_output_spec(keras_spec(x))
        return keras.tree.map_structure(lambda _: wide(model), outputs)

    def _before_draws(self) -> dict[int, Any]:
        """Computes what draws of each posterior have in common, by its id."""
        calls = self._graph.random_calls if self._graph else []
        posteriors = [
            posterior
            for call in calls
            if isinstance(call.op, VariationalLayer)
            for posterior in call.op.posteriors
        ]
        return {id(p): p.before_draws() for p in posteriors}

    def _output_noise(self, tensors: Any, rows: Tensor) -> dict[int, Any]:
        """Computes the first random layers' output noise, by layer id."""
        assert self._graph is not None
        found = {}
        for call in of_rows.first_calls(self._graph):
            x, *_ = call.inputs
            found[id(call.op)] = call.op.output_noise(tensors[id(x)], rows)
        return found
