"""Draws of a posterior that has a way of its own to draw."""

import math
import weakref
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import forms
from tfpbnn.base.types import Tensor
from tfpbnn.networks.posterior import keras_spec
from tfpbnn.networks.reading import open_spec
from tfpbnn.networks.stand_ins import callee
from tfpbnn.particles.costs import Costs
from tfpbnn.particles.effects import effects_of, joined
from tfpbnn.particles.functions import DrawFunction, over_means, wide
from tfpbnn.particles.ways import Way


class PosteriorDraws(DrawFunction):
    """The outputs of a `Posterior`'s networks, in a loop in the graph."""

    def __init__(self, model: Any, x: Any, antithetic: bool):
        specs = open_spec(model, x)
        effects = joined(
            effects_of(model, network, lambda: specs)
            for network in model.templates()
        )
        super().__init__(specs, antithetic, effects)
        self._model = weakref.ref(model)
        # Members that are random themselves have no end of draws.
        self.num_draws = None if effects.is_noisy else model.num_draws
        self.has_mean, self.num_means = model.has_mean, model.num_means

    def costs(self, x: Any) -> Costs:
        model: Any = self._model()
        specs = keras.tree.map_structure(
            lambda t: (
                t
                if t is None
                else keras.KerasTensor((None, *forms.sizes(t)), t.dtype.name)
            ),
            x,
        )
        sizes = (
            math.prod(n for n in leaf.shape if n is not None)
            for leaf in keras.tree.flatten(model.draw_spec(specs))
        )
        return Costs(output_bytes_per_row=4 * sum(sizes))

    def trace(
        self,
        way: Way,
        x: Any,
        key: Tensor,
        start: Tensor,
        stop: Tensor,
        rows: Tensor | None = None,
    ) -> Any:
        return self._looped(
            lambda index: self.trace_one(x, key, index),
            start,
            stop,
            self._output_types(x),
        )

    def trace_one(
        self, x: Any, key: Tensor | None, index: Tensor, leaves: bool = False
    ) -> Any:
        return self._run(x, self._scope(key, index), leaves)

    def trace_mean(self, x: Any) -> Any:
        return over_means(
            lambda scope: self._run(x, scope),
            self.num_means,
            self._output_types(x),
        )

    def network(self) -> Any:
        model: Any = self._model()
        return model.template()

    def _run(
        self, x: Any, scope: random.DrawScope, leaves: bool = False
    ) -> Any:
        """The outputs of the network that the scope asks for."""
        model: Any = self._model()
        with self._in_draw(scope, leaves):
            outputs = callee(model).draw(x, scope.indices, scope.key)
        return keras.tree.map_structure(
            lambda y: tf.cast(y, wide(model)), outputs
        )

    def _output_types(self, x: Any) -> Any:
        model: Any = self._model()
        return keras.tree.map_structure(
            lambda _: wide(model), model.draw_spec(keras_spec(x))
        )
