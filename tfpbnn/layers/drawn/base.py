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
    """Finds the layer that draws a variable of Keras's; None if none does."""
    return getattr(variable, "drawn_by", None)


class DrawnValues(keras.StatelessScope):
    """A scope in which some variables have drawn values.

    All else is as outside of the scope. The losses are for the layer that
    opened it, since only this layer knows to which layer they belong.
    """

    def __init__(self, drawn: list[tuple[keras.Variable, Tensor]]):
        super().__init__(drawn, collect_losses=True)
        self._drawn = [variable for variable, _ in drawn]
        self._seen = 0  # how many operations the graph had

    def __enter__(self) -> Any:
        self._seen = len(_operations())
        return super().__enter__()

    def __exit__(self, *args: Any, **kwargs: Any) -> None:
        super().__exit__(*args, **kwargs)
        if not any(args):
            _check_functions(_operations()[self._seen :], self._drawn)

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


def _operations() -> list[Any]:
    """Lists the operations of the graph that is made; none outside of one."""
    is_eager = tf.executing_eagerly()
    return [] if is_eager else tf.compat.v1.get_default_graph().get_operations()


def _check_functions(
    operations: list[Any], drawn: list[keras.Variable]
) -> None:
    """Raises if a function that was traced before reads a drawn variable.

    It was traced where the variable had no draw, which it would never see.
    """
    calls = [op for op in operations if op.type.endswith("PartitionedCall")]
    if not calls:
        return
    places = {id(outer): inner.name for outer, inner in calls[0].graph.captures}
    read = {x.name for op in calls for x in op.inputs}
    for variable in drawn:
        handle = getattr(variable.value, "handle", None)
        if places.get(id(handle)) in read:
            raise ValueError(
                "A layer with a distribution over its weights must have no "
                "tf.function of its own, which knows of no draws once it is "
                f"traced. Received: one that reads {variable.path}. Take the "
                "decorator off; Keras compiles the whole model"
            )


class DrawnLayer(RandomLayer):
    """A layer that runs Keras's own code with drawn values of its variables.

    A Keras layer's variable is its posterior's `loc`; only scales are added.
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
        """Attaches the posterior, and its KL, to a Keras layer's variable."""
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
        """Calls `function()` with one draw of all weights."""
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
        """Returns the arguments that `_own_weight` was given, as plain data."""
        posterior, prior = self._posterior(name), getattr(self, f"{name}_prior")
        is_point = isinstance(posterior, families.PointEstimate)
        return {
            f"{name}_posterior": None if is_point else posterior.serialize(),
            f"{name}_prior": prior and prior.serialize(),
        }
