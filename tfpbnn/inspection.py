"""What a Keras model says of itself."""

from collections.abc import Mapping
from typing import Any

import keras

from tfpbnn.particles.posterior import Posterior


def check_built(model: Any) -> None:
    """Raises unless `model` is a Keras model with weights.

    Raises:
        TypeError: if it is no model.
        ValueError: if it was never built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"`model` ({model.name}) was never built, so it has no weights: "
            "fit it, load its weights, or give it a keras.Input first."
        )


def output_names(model: keras.Model) -> list[str]:
    """Of several outputs: their keys in a dict, else as Keras names them."""
    if isinstance(model, Posterior):
        model = model.template()
    outputs = getattr(model, "output", None)
    if isinstance(outputs, Mapping):
        return sorted(outputs)
    return list(getattr(model, "output_names", ["output"]))


def compiled_loss(model: keras.Model) -> Any:
    """The loss that a model was compiled with.

    Raises:
        ValueError: if there is none.
    """
    loss = getattr(model, "loss", None)
    if loss is None:
        raise ValueError(
            f"`model` ({model.name}) was never compiled with a loss, so the "
            "meaning of its outputs is unknown: compile it with a likelihood "
            "(such as tfpbnn.likelihoods.Normal()) or pass `likelihood=`."
        )
    return loss
