"""Whether layers can be part of a density of weights."""

import warnings
from collections.abc import Sequence

import keras

from tfpbnn.networks import reading
from tfpbnn.networks.posterior import Posterior
from tfpbnn.particles.effects import is_random

_DROPOUTS = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


def check_is_one(model: keras.Model) -> None:
    """Raises if a model is a posterior, which stands for many networks.

    Raises:
        ValueError: with what to do.
    """
    if isinstance(model, Posterior):
        raise ValueError(
            "`model` must be one network. Received: "
            f"{type(model).__name__}, a posterior of them. Give a network like "
            "its own, and for chains that begin at the members of an ensemble "
            "the ensemble as `init`"
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


def check_unconstrained(variables: Sequence[keras.Variable]) -> None:
    """Raises if random weights have constraints, which chains do not keep.

    Raises:
        ValueError: with the weights' paths.
    """
    bound = [v.path for v in variables if v.constraint is not None]
    if bound:
        raise ValueError(
            "`model` must not have constraints on weights that are random: "
            "chains move through all values, and priors are of all. Received: "
            f"constraints on {bound}. Take them out, or leave these weights as "
            "they are (`prior={name: None}`)"
        )


def warn_of_penalties(network: keras.Model) -> None:
    """Warns if layers of a network that was called have penalties."""
    names = [one.name for one in reading.layers_of(network) if one.losses]
    if names:
        warnings.warn(
            f"The penalties of the layers {names} don't count while chains "
            "run: the prior takes their place.",
            stacklevel=4,
        )
