"""Whether layers can be part of a density of weights."""

import warnings

import keras

from tfpbnn.networks import reading
from tfpbnn.particles.effects import is_random

_DROPOUTS = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


def check_layers(network: keras.Model, trainable_only: bool) -> None:
    """Raises if layers can't be part of a density of weights.

    Raises:
        ValueError: with the layers' names and what to do.
    """
    layers = reading.layers_of(network)
    for layer in layers:
        name = f"{layer.name!r} ({type(layer).__name__})"
        norm = isinstance(layer, keras.layers.BatchNormalization)
        if norm and (layer.trainable or not trainable_only):
            raise ValueError(
                "`model` must not have BatchNormalization that trains: its "
                "statistics depend on the weights and on the batch, so there "
                f"is no density of the weights. Received: {name}. Freeze it "
                "(`layer.trainable = False`), so that its statistics are "
                "constants, or use LayerNormalization"
            )
        if is_random(layer):
            raise ValueError(
                "`model` must not have layers that are random beside their "
                f"weights. Received: {name}. Take it out: chains draw all "
                "that is random"
            )
    idle = [
        layer.name
        for layer in layers
        if isinstance(layer, _DROPOUTS) and getattr(layer, "rate", True)
    ]
    if idle:
        warnings.warn(
            f"The layers {idle} drop nothing while chains run, as in "
            "inference: the prior regularizes in their place.",
            stacklevel=4,
        )
