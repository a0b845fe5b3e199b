"""Draws of a posterior that has a way of its own to draw."""

import math
import weakref
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Tensor
from tfpbnn.networks.posterior import Posterior, keras_spec
from tfpbnn.networks.reading import open_spec
from tfpbnn.networks.stand_ins import callee
from tfpbnn.particles.costs import Costs
from tfpbnn.particles.functions import (
    DrawFunction,
    keys_and_signs,
    over_means,
    wide,
)


class PosteriorDraws(DrawFunction):
    """The outputs of a `Posterior`'s networks, in a loop in the graph."""

    num_random_layers = 1

    def __init__(self, model: Any, x: Any, antithetic: bool):
        super().__init__(open_spec(model, x))
        assert isinstance(model, Posterior)
        self._model = weakref.ref(model)
        self._antithetic = antithetic
        self.num_draws = model.num_draws
        self.has_mean, self.num_means = model.has_mean, model.num_means

    def costs(self, x: Any) -> Costs:
        model: Any = self._model()
        specs = keras.tree.map_structure(
            lambda t: keras.KerasTensor((None, *t.shape[1:]), t.dtype.name), x
        )
        sizes = (
            math.prod(n for n in leaf.shape if n is not None)
            for leaf in keras.tree.flatten(model.draw_spec(specs))
        )
        return Costs(output_bytes_per_row=4 * sum(sizes))

    def trace(self, kind: str, x: Any, *arguments: Tensor) -> Any:
        model: Any = self._model()
        dtype = wide(model)

        types = keras.tree.map_structure(
            lambda _: dtype, model.draw_spec(keras_spec(x))
        )

        def run(scope: random.DrawScope) -> Any:
            with random.entered(scope):
                outputs = callee(model).draw(x, scope.numbers, scope.key)
            return keras.tree.map_structure(
                lambda y: tf.cast(y, dtype), outputs
            )

        if kind == "mean":
            return over_means(
                lambda number: run(random.DrawScope(None, numbers=number)),
                self.num_means,
                types,
            )
        key, *numbers = arguments

        def draw(number: Tensor) -> Any:
            own_key, sign = keys_and_signs(key, number, self._antithetic)
            return run(random.DrawScope(own_key, signs=sign, numbers=number))

        if kind == "one":
            return draw(*numbers)
        return tf.map_fn(
            draw,
            tf.range(*numbers),
            parallel_iterations=2,
            fn_output_signature=types,
        )
