"""Defines models whose draws are more than draws of their layers."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Tensor


class Posterior(abc.ABC):
    """A mixin for Keras models that are distributions over whole networks.

    Ensembles, SWAG and chains are such models. `tfpbnn.predict` and all that
    builds on it need only their method `draw`. Inside of another model they
    draw too: each draw of that model is one of theirs.

    Attributes:
        num_draws: the number of different draws, so that draws s and s +
            `num_draws` are the same; None if there is no limit.
        has_mean: whether one network stands for all draws.
        num_means: the number of networks that stand for all draws: one, or
            one for each member, at its own means.
    """

    num_draws: int | None = None
    has_mean: bool = True
    num_means: int = 1

    @property
    def output_names(self) -> list[str]:
        """Keras's names of the outputs, which losses and targets go by."""
        return self.template().output_names

    @abc.abstractmethod
    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        """Computes the outputs of one network, as a graph.

        Args:
            x: the inputs, B rows.
            number: the index of the draw, an integer tensor.
            key: the key of the draw, `[2]`, for what is random in it; None
                asks for the network of this index among those that stand for
                all.

        Returns:
            The outputs `[B, ...]`, in the structure of one network's outputs.
        """

    def average(self, inputs: Any, training: bool = False) -> Any:
        """Computes the outputs of a plain call, such as those of the mean."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `average` to be called."
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Computes one draw inside of a scope of draws, else the average."""
        scope = random.current_scope()
        if scope is None:
            return self.average(inputs, training=training)
        number = 0 if scope.indices is None else scope.indices
        key = scope.key_for_posterior(self)
        return self.draw(inputs, tf.cast(number, tf.int64), key)

    @abc.abstractmethod
    def template(self) -> keras.Model:
        """Returns a network with inputs and outputs like those of draws."""

    def templates(self) -> Sequence[keras.Model]:
        """Returns all the networks that draws are traced with."""
        return [self.template()]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of one network's outputs, and of their average."""
        return self.template().compute_output_shape(input_shape)

    def draw_spec(self, x: Any) -> Any:
        """Makes KerasTensors like what `draw` returns, for inputs like x.

        Args:
            x: the inputs, as KerasTensors.
        """
        network = self.template()
        own = getattr(network, "inputs", None)
        if own:  # Keras asks each input for its shape, also an optional one
            leaves = zip(keras.tree.flatten(x), own, strict=True)
            given = [like if leaf is None else leaf for leaf, like in leaves]
            x = keras.tree.pack_sequence_as(x, given)
        return network.compute_output_spec(x)


def keras_spec(x: Any) -> Any:
    """Makes KerasTensors like tensors or their specs; None stays."""

    def spec(t: Any) -> keras.KerasTensor | None:
        if t is None:
            return None
        form = {}
        if isinstance(t, tf.SparseTensor | tf.SparseTensorSpec):
            form = {"sparse": True}
        if isinstance(t, tf.RaggedTensor | tf.RaggedTensorSpec):
            form = {"ragged": True}
        return keras.KerasTensor(tuple(t.shape), t.dtype.name, **form)

    return keras.tree.map_structure(spec, x)
