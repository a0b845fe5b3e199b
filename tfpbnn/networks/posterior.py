"""What a model is whose draws are more than draws of its layers."""

import abc
from collections.abc import Sequence
from typing import Any

import keras

from tfpbnn.base.types import Tensor


class Posterior(abc.ABC):
    """A mixin for Keras models that are distributions over whole networks.

    An ensemble, SWAG, chains: `tfpbnn.predict` and all that builds on it ask
    nothing of them but `draw`.

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

    @abc.abstractmethod
    def template(self) -> keras.Model:
        """A network whose inputs and outputs are like those of all draws."""

    def templates(self) -> Sequence[keras.Model]:
        """All the networks that draws are traced with."""
        return [self.template()]

    def draw_spec(self, x: Any) -> Any:
        """KerasTensors like what `draw` returns, for inputs of a spec like x.

        Args:
            x: KerasTensors.
        """
        return self.template().compute_output_spec(x)


def keras_spec(x: Any) -> Any:
    """KerasTensors like tensors or TensorSpecs."""
    return keras.tree.map_structure(
        lambda t: keras.KerasTensor(tuple(t.shape), t.dtype.name), x
    )
