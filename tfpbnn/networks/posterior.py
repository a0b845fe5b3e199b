"""What a model is whose draws are more than draws of its layers."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Tensor


class Posterior(abc.ABC):
    """A mixin for Keras models that are distributions over whole networks.

    An ensemble, SWAG, chains: `tfpbnn.predict` and all that builds on it ask
    nothing of them but `draw`. Within another model they draw too: each draw of
    that model is one of theirs.

    Attributes:
        num_draws: how many draws there are, so that number s and s +
            `num_draws` are the same; None if there is no end.
        has_mean: whether there is one network that stands for all.
        num_means: how many networks stand for all: one, or as many as there
            are members, each at its own means.
    """

    num_draws: int | None = None
    has_mean: bool = True
    num_means: int = 1

    @property
    def output_names(self) -> list[str]:
        """Keras's names of the outputs, by which losses and targets go."""
        return self.template().output_names

    @abc.abstractmethod
    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        """The outputs of one network, as a graph.

        Args:
            x: inputs, B rows.
            number: the draw's, an integer tensor.
            key: the draw's, `[2]`, for what is random in it; None asks for the
                network of this number of those that stand for all.

        Returns:
            `[B, ...]`, in the structure of one network's outputs.
        """

    def average(self, inputs: Any, training: bool = False) -> Any:
        """What a plain call gives: the outputs of what stands for all."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `average` to be called."
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """One draw where draws are made, else the average."""
        scope = random.current_scope()
        if scope is None:
            return self.average(inputs, training=training)
        number = 0 if scope.indices is None else scope.indices
        key = scope.key_for_posterior(self)
        return self.draw(inputs, tf.cast(number, tf.int64), key)

    @abc.abstractmethod
    def template(self) -> keras.Model:
        """A network whose inputs and outputs are like those of all draws."""

    def templates(self) -> Sequence[keras.Model]:
        """All the networks that draws are traced with."""
        return [self.template()]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of one network's outputs, and of their average."""
        return self.template().compute_output_shape(input_shape)

    def draw_spec(self, x: Any) -> Any:
        """KerasTensors like what `draw` returns, for inputs of a spec like x.

        Args:
            x: KerasTensors.
        """
        network = self.template()
        own = getattr(network, "inputs", None)
        if own:  # Keras asks each input for its shape, also an optional one
            leaves = zip(keras.tree.flatten(x), own, strict=True)
            given = [like if leaf is None else leaf for leaf, like in leaves]
            x = keras.tree.pack_sequence_as(x, given)
        return network.compute_output_spec(x)


def keras_spec(x: Any) -> Any:
    """KerasTensors like tensors or their specs; None stays."""

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
