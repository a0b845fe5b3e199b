"""What every layer that draws has: its noise's state and its KL's weight."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import priors, random
from tfpbnn.base import checks
from tfpbnn.base.types import Config, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.kl import KLRegularizer, add_weight, is_weight


def is_variational(layer: keras.layers.Layer) -> bool:
    """Whether it is, or contains, a variational layer."""
    # Every variational layer has a KL weight.
    return any(map(is_weight, layer.variables))


class NoiseCounter:
    """A mixin for Keras layers that draw: seed and number of their draws."""

    noise_seed: int | None
    noise_state: Any

    def _build_noise(self) -> None:
        self.noise_state = self.add_weight(  # type: ignore[attr-defined]
            name="noise_state",
            shape=(2,),
            dtype="int64",
            initializer=self._initial_noise_state,
            trainable=False,
            autocast=False,
        )

    def _initial_noise_state(self, shape: Any, dtype: Any) -> Tensor:
        """(seed, number of the next draw); a weight, so that it is saved."""
        del shape
        seed = random.any_seed() if self.noise_seed is None else self.noise_seed
        return tf.constant([seed, 0], dtype)

    def _next_key(self) -> Tensor:
        state = tf.identity(tf.convert_to_tensor(self.noise_state))
        self.noise_state.assign(state + tf.constant([0, 1], state.dtype))
        return random.fold_replica(state)


class RandomLayer(NoiseCounter):
    """A mixin for Keras layers whose weights have distributions.

    Not a layer itself, so that it goes with any Keras layer.

    Attributes:
        draws_weights: whether its noise is that of its weights, as many numbers
            for a draw.
    """

    draws_weights = True
    _kl_term = KLRegularizer

    def _init_noise(
        self, kl_weight: float | None, free_bits: float, seed: int | None
    ) -> None:
        """To be called in `__init__`, after that of Keras's layer."""
        self.initial_kl_weight = kl_weight
        self.kl_weight = add_weight(self, kl_weight)
        self.free_bits = checks.non_negative("free_bits", free_bits)
        self.noise_seed = checks.seed(seed)

    def stacks(self) -> bool:
        """Whether the layer takes S draws at once: see `random.DrawScope`."""
        return False

    def stacks_by_row(self, input_shape: Any) -> bool:
        """Whether it does so in the order of rows too."""
        del input_shape
        return False

    def rows_can_be_drawn_apart(self, input_shape: Any) -> bool:
        """Whether it takes rows that are drawn apart, exactly for each row."""
        del input_shape
        return False

    def _build_noise(self) -> None:
        super()._build_noise()
        self.noise_state.is_noise = True  # how other code finds it

    def _add_kl(self, posterior: Family, prior: priors.Prior | None) -> None:
        """Hangs the KL of a built posterior on its `loc`."""
        if prior is None:
            return
        prior.build_for(posterior)
        self._kl_term(
            posterior,
            prior,
            self.kl_weight,
            self.noise_state,
            free_nats=self.free_bits * math.log(2.0),
        )

    def _draw_key(self) -> Tensor | None:
        """The key of this call's draw; None asks for the posterior means."""
        scope = random.current_scope()
        return self._next_key() if scope is None else scope.key_for(self)

    def _noise_config(self) -> Config:
        return {
            "kl_weight": self.initial_kl_weight,
            "free_bits": self.free_bits,
            "seed": self.noise_seed,
        }


def own_prior(layer: Any, identifier: Any, part: str) -> priors.Prior | None:
    """The layer's copy of the prior of one of its weights."""
    prior = priors.get(identifier, f"{part}_prior")
    if prior is None:
        return None
    return prior.copy(name=f"{part}_prior", dtype=layer.dtype_policy)
