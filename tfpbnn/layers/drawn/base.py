"""Runs Keras's own layers with drawn values of their weights."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import families, fused, random
from tfpbnn.base.types import Config, Identifier, Tensor
from tfpbnn.families import Family
from tfpbnn.layers.kl import TrainedWeight
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.layers.random_weights import RandomWeights, own_prior
from tfpbnn.networks.within import within


def _sample(posterior: Family, key: Tensor) -> Tensor:
    return TrainedWeight(posterior).sample(key)


def _draw_in_scope(posterior: Family, key: Tensor) -> Tensor:
    return posterior.draws(key[tf.newaxis])[0]


def drawn_by(variable: keras.Variable) -> Any:
    """The layer that draws a variable of Keras's; None if none does."""
    return getattr(variable, "drawn_by", None)


class DrawnValues(keras.StatelessScope):
    """Some variables have drawn values inside; all else is as outside.

    The losses are for the layer that opened the scope: only it knows to whom
    they belong.
    """

    def __init__(self, drawn: list[tuple[keras.Variable, Tensor]]):
        super().__init__(drawn, collect_losses=True)

    def get_current_value(self, variable: keras.Variable) -> Tensor | None:
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        variable, value = update
        if id(variable) in self.state_mapping:
            raise ValueError(
                "A layer that assigns to its own trainable weights (as "
                "keras.layers.SpectralNormalization does) can't have a "
                f"distribution over them. It assigned to {variable.path}."
            )
        self.pass_on(variable, value)

    def pass_on(self, variable: keras.Variable, value: Tensor) -> None:
        """Assigns to a variable as outside of the scope."""
        self.__exit__()
        variable.assign(value)
        self.__enter__()


class DrawnLayer(RandomLayer):
    """Runs Keras's own code with drawn values of its variables.

    A Keras layer's variable is its posterior's loc; only scales are added.
    """

    noise: RandomWeights
    _weight_names: tuple[str, ...] = ()

    def _own_weight(
        self, name: str, posterior: Identifier, prior: Identifier
    ) -> None:
        """Sets `name_posterior` and `name_prior` to the layer's own copies."""
        argument = f"{name}_posterior"
        family = families.get(
            "point_estimate" if posterior is None else posterior, argument
        )
        assert family is not None
        copy = family.copy(name=argument, dtype=self.dtype_policy)
        setattr(self, argument, copy)
        setattr(self, f"{name}_prior", own_prior(self, prior, name))
        self._weight_names += (name,)

    def _posterior(self, name: str) -> Family:
        return getattr(self, f"{name}_posterior")

    def _build_weight(self, name: str, variable: keras.Variable) -> None:
        """Hangs the posterior, and its KL, on a Keras layer's variable."""
        if variable.dtype not in ("float32", "float64"):
            raise ValueError(
                "Weights with a distribution must be float32 or float64 "
                "variables: steps of their scales are lost in 16 bits. "
                f"Received: {variable.path} of dtype={variable.dtype}. Use "
                'dtype="mixed_float16" or "mixed_bfloat16".'
            )
        posterior = self._posterior(name)
        posterior.build(tuple(variable.shape), loc=variable)
        variable.drawn_by = self  # how others that hold it find the draw
        self.noise.add_kl(posterior, getattr(self, f"{name}_prior"))

    def _call_drawn(
        self, function: Callable[[], Any], training: bool | None
    ) -> Any:
        """`function()` with one draw of all weights."""
        key = self._draw_key()
        if key is None:  # the posterior means: the variables themselves
            return function()
        in_scope = random.current_scope() is not None
        with fused.enabled(in_scope or bool(training)):
            draw = _draw_in_scope if in_scope else _sample
            # A posterior needs its loc, a Keras layer's variable, uncast.
            drawn = within(function=lambda: self._draw(draw, key))
        with DrawnValues(drawn) as scope:
            outputs = function()
        for loss in scope.losses:
            # Not the same tensor: Keras attributes a loss by its identity.
            self.add_loss(tf.identity(loss))
        return outputs

    def _draw(
        self, draw: Callable[[Family, Tensor], Tensor], key: Tensor
    ) -> list[tuple[keras.Variable, Tensor]]:
        return [
            (posterior.loc, draw(posterior, random.fold(key, index)))
            for index, name in enumerate(self._weight_names)
            if (posterior := self._posterior(name)).is_random
        ]

    def _weight_config(self, name: str) -> Config:
        """The arguments that `_own_weight` was given, as plain data."""
        posterior, prior = self._posterior(name), getattr(self, f"{name}_prior")
        is_point = isinstance(posterior, families.PointEstimate)
        return {
            f"{name}_posterior": None if is_point else posterior.serialize(),
            f"{name}_prior": prior and prior.serialize(),
        }
