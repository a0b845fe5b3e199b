"""Defines what posteriors over the weights of one network share."""

import abc
from typing import Any, NoReturn

import keras
import tensorflow as tf

from tfpbnn.base.types import Config, Tensor
from tfpbnn.layers.drawn.base import DrawnValues
from tfpbnn.particles import Posterior
from tfpbnn.training.data_checks import CheckedData


class Untrainable(Posterior, CheckedData, keras.Model):
    """A posterior that is collected, not trained."""

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"{type(self).__name__} is collected from training and can't be "
            "trained: train the network, with the callback that collects."
        )

    def get_build_config(self) -> None:
        return None  # all variables are made by the constructor


class NetworkPosterior(Untrainable):
    """A distribution over some weights of one network.

    Attributes:
        network: a built model, whose other weights are the same in all draws.
        indices: the indices of the random weights in `network.weights`.
        has_statistics: whether the statistics of BatchNorm layers are right
            for the network's weights, rather than left from training.
    """

    has_statistics = False

    @property
    def draws_weights(self) -> bool:
        """Says whether a draw is the network at the weights of `drawn`."""
        return True

    def __init__(
        self,
        network: keras.Model,
        indices: list[int] | tuple[int, ...],
        **kwargs: Any,
    ):
        super().__init__(**({"dtype": network.dtype_policy} | kwargs))
        self.network = network
        self.indices = tuple(indices)

    @property
    def random_weights(self) -> list[keras.Variable]:
        """The weights of the network that have a distribution."""
        weights = self.network.weights
        return [weights[index] for index in self.indices]

    def template(self) -> keras.Model:
        return self.network

    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        return self.run(x, self.random_weights, self.drawn(number, key))

    @abc.abstractmethod
    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        """Returns the random weights' values, for the draw of an index."""

    def drawn_weights(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        """Returns the values of all of the network's weights, for one draw."""
        weights = [tf.convert_to_tensor(v) for v in self.network.weights]
        drawn = self.drawn(number, key)
        for index, value in zip(self.indices, drawn, strict=True):
            weights[index] = value
        return weights

    def run(
        self, x: Any, variables: list[keras.Variable], values: list[Tensor]
    ) -> Any:
        """Computes the network's outputs with other values of some weights."""
        with DrawnValues(list(zip(variables, values, strict=True))):
            return self.network(x, training=False)

    def _add_parameter(
        self, shape: Any, variable: keras.Variable, name: str
    ) -> keras.Variable:
        """Adds a variable about another; float32 at least, and never cast."""
        wide = "float64" if variable.dtype == "float64" else "float32"
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="zeros",
            dtype=wide,
            autocast=False,
            trainable=False,
        )

    def get_config(self) -> Config:
        return {
            "network": keras.saving.serialize_keras_object(self.network),
            "indices": list(self.indices),
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: Any = None
    ) -> "NetworkPosterior":
        network = keras.saving.deserialize_keras_object(
            config["network"], custom_objects=custom_objects
        )
        return cls(**(config | {"network": network}))
