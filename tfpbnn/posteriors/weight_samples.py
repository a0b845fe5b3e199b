"""Defines a posterior that is a list of weights of one network."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.masks import masks_of, mean_of_stack
from tfpbnn.base.stacking import loop
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.networks import states
from tfpbnn.networks.copying import clone, compile_like, settle
from tfpbnn.networks.reading import is_noise
from tfpbnn.particles.effects import is_random
from tfpbnn.posteriors.network_posterior import NetworkPosterior


class StackedWeights(NetworkPosterior):
    """Networks that differ in some weights only, which are kept in stacks.

    Attributes:
        num_members: S, how many there are.
    """

    has_mean = False

    def __init__(
        self,
        network: keras.Model,
        num_members: int,
        indices: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(network, tuple(indices), **kwargs)
        self.num_members = self.num_means = checks.positive_integer(
            "num_members", num_members
        )
        # Members that are random themselves have no end of draws.
        if not is_random(network):
            self.num_draws = num_members
        self._stacks = [
            self._add_parameter((num_members, *v.shape), v, f"members_{i}")
            for i, v in zip(self.indices, self.random_weights, strict=True)
        ]
        self.built = True

    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        number = tf.cast(number, tf.int64) % self.num_members
        return [
            tf.cast(stack.value[number], variable.dtype)
            for stack, variable in zip(
                self._stacks, self.random_weights, strict=True
            )
        ]

    def average(self, inputs: Any, training: bool = False) -> Any:
        def one(number: Any) -> Any:
            outputs = self.draw(inputs, number, None)
            return outputs, masks_of(outputs)

        return mean_of_stack(*loop(one, range(self.num_members)))

    @property
    def losses(self) -> list[Any]:
        return []  # those of the network would be of one set of weights


@registry.register("ensembles")
class WeightSamples(StackedWeights):
    """A posterior of S networks that differ in their weights only.

    `SnapshotEnsemble` and `SWAGPosterior.materialize` make such posteriors.
    Draw s is member s modulo S, so `tfpbnn.predict` runs each member once, and
    gives the mixture of their predictions. A call of the model, as by Keras's
    `predict` and `evaluate`, gives the mean of the members' *outputs*; for
    logits this is no mixture, but the geometric mean of the probabilities, up
    to a constant. Penalties of weights are not part of the loss.

    Args:
        network: a built model.
        num_members: the number S of networks.
        indices: the indices of the weights in `network.weights` that differ.

    Raises:
        ValueError: if `num_members` is not positive.

    Example:
    ```python
    sets = [model.get_weights(), [0.9 * w for w in model.get_weights()]]
    posterior = tfpbnn.ensembles.WeightSamples.from_weights(model, sets)
    tfpbnn.predict(posterior, x)
    posterior.members[0]                                # a plain Keras model
    ```
    """

    @classmethod
    def from_weights(
        cls, model: keras.Model, weights: Sequence[Sequence[Any]]
    ) -> "WeightSamples":
        """Makes the posterior of a model with each of several sets of weights.

        Args:
            model: a built model, which is copied; compiled or not.
            weights: a list for each member, as `model.get_weights()` returns
                it.

        Raises:
            ValueError: if there are no weights, or they don't fit the model.
        """
        variables = model.weights
        shapes = [tuple(v.shape) for v in variables]
        if not weights:
            raise ValueError("`weights` must have one set or more. Received: 0")
        for number, values in enumerate(weights):
            found = [np.shape(value) for value in values]
            if found != shapes:
                raise ValueError(
                    "`weights` must be lists of arrays of the shapes of "
                    f"model.get_weights(). Received: shapes {found} in "
                    f"weights[{number}]. Expected: {shapes}"
                )
        indices = [
            index
            for index, variable in enumerate(variables)
            # Where the noise of a layer stands is no weight.
            if not is_noise(variable)
            and _differ([values[index] for values in weights])
        ]
        frozen = states.frozen_in(model)
        for index in indices:
            if id(variables[index]) in frozen:
                raise ValueError(
                    "`weights` must have the same values for layers that have "
                    "made constants of theirs. Received: different ones of "
                    f"{frozen[id(variables[index])]!r}. Networks with such "
                    "layers of their own go into `DeepEnsemble.from_models`"
                )
        network = clone(model, compiled=False)
        order = states.order(model, network)
        network.set_weights([weights[0][place] for place in order])
        settle(network)
        chosen = [i for i, place in enumerate(order) if place in indices]
        posterior = cls(network, len(weights), chosen)
        for index, stack in zip(chosen, posterior._stacks, strict=True):
            _assign(stack, [values[order[index]] for values in weights])
        compile_like(posterior, model, "sgd")
        return posterior

    @property
    def members(self) -> list[keras.Model]:
        """The members, as plain Keras models with the posterior's loss."""
        models = []
        for number in range(self.num_members):
            member = clone(self.network, compiled=False)
            weights = member.weights
            for index, stack in zip(self.indices, self._stacks, strict=True):
                weights[index].assign(stack.value[number])
            compile_like(member, self, "sgd")
            models.append(member)
        return models

    def get_config(self) -> Config:
        return super().get_config() | {"num_members": self.num_members}


def _differ(values: list[Array]) -> bool:
    return any(not np.array_equal(values[0], other) for other in values[1:])


def _assign(stack: keras.Variable, values: list[Array]) -> None:
    """Sets a stack, which is of floats, to the values of all members."""
    stacked = np.stack(values)
    stack.assign(stacked)
    is_exact = np.array_equal(np.asarray(stack).astype(stacked.dtype), stacked)
    if np.issubdtype(stacked.dtype, np.integer) and not is_exact:
        raise ValueError(
            "`weights` that are integers must be at most 2**24 in size where "
            f"they differ. Received: {stacked.dtype.name}, of up to "
            f"{np.max(np.abs(stacked))}"
        )
