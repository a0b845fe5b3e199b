"""Finds the function that draws of a model are computed with."""

from typing import Any

import keras

from tfpbnn.base import gradients
from tfpbnn.base.kept import kept_with
from tfpbnn.networks.posterior import Posterior
from tfpbnn.networks.reading import layers_of, open_spec
from tfpbnn.particles.functions import TRACING, DrawFunction
from tfpbnn.particles.layer_draws import LayerDraws
from tfpbnn.particles.posterior_draws import PosteriorDraws


def draw_function(
    model: keras.Model, x: Any, antithetic: bool = False
) -> DrawFunction:
    """Returns the model's `DrawFunction` for inputs like x, made once.

    A model that was rebuilt (layers added or exchanged) gets a new one.
    """
    parts = [id(part) for part in (*layers_of(model), *model.variables)]
    specs = keras.tree.map_structure(repr, open_spec(model, x))
    key = repr((specs, antithetic))
    with TRACING:
        functions = kept_with(model, "draws")
        if functions.get("parts") != parts:
            functions.clear()  # They hold on to compiled graphs.
            functions["parts"] = parts
        if key not in functions:
            gradients.release()  # of models that were there before
            is_own = isinstance(model, Posterior)
            make = PosteriorDraws if is_own else LayerDraws
            functions[key] = make(model, x, antithetic)
        return functions[key]
