"""Defines what layers with random weights have: noise, and a KL."""

import math
from typing import Any

import keras

from tfpbnn import priors
from tfpbnn.base import checks
from tfpbnn.base.types import Config
from tfpbnn.families import Family
from tfpbnn.layers.kl import KLRegularizer, add_weight
from tfpbnn.layers.noise import Noise


class RandomWeights(Noise):
    """The part of a layer with the noise and the KL weight of its weights.

    Args:
        layer: the layer, which gets `kl_weight`, the variable that callbacks
            set, and the other arguments as its attributes.
        kl_weight: the user's number, or None to leave it to callbacks.
        free_bits: the KL of each weight below which it counts as this number.
        seed: as in `Noise`.
        term: the class that adds the KL of a weight to the loss.
        stream: as in `Noise`.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        kl_weight: float | None,
        free_bits: float,
        seed: int | None,
        *,
        term: type[KLRegularizer] = KLRegularizer,
        stream: int = 0,
    ):
        super().__init__(layer, seed, stream=stream)
        self.initial_kl_weight = layer.initial_kl_weight = kl_weight
        self.kl_weight = layer.kl_weight = add_weight(layer, kl_weight)
        self.free_bits = layer.free_bits = checks.non_negative(
            "free_bits", free_bits
        )
        self.term = term

    def add_kl(self, posterior: Family, prior: priors.Prior | None) -> None:
        """Attaches the KL of a built posterior to its `loc`."""
        if prior is None:
            return
        prior.build_for(posterior)
        self.term(
            posterior,
            prior,
            self.kl_weight,
            self.state,
            free_nats=self.free_bits * math.log(2.0),
        )

    def config(self) -> Config:
        """Returns the layer's arguments, as plain data."""
        return {
            "kl_weight": self.initial_kl_weight,
            "free_bits": self.free_bits,
            "seed": self.seed,
        }


def own_prior(
    layer: keras.layers.Layer, identifier: Any, name: str
) -> priors.Prior | None:
    """The layer's copy of the prior of its weight of this name."""
    prior = priors.get(identifier, f"{name}_prior")
    if prior is None:
        return None
    return prior.copy(name=f"{name}_prior", dtype=layer.dtype_policy)
