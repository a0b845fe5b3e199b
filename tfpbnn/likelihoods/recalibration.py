"""Defines maps from what a model predicts to what held-out data bear out."""

import abc
from typing import Any, ClassVar

from tfpbnn.base.types import Config, Tensor


class Recalibration(abc.ABC):
    """A map of predictions that a likelihood applies; `calibration` has them.

    It acts on each draw (on logits, or on the noise's distribution), or on the
    mixture over draws (on its probabilities, or on its distribution function).
    What it does not act on it leaves as it is. It is saved with the likelihood,
    and so with the loss of a model.

    Attributes:
        is_of_mixture: whether it acts on the mixture over draws.
    """

    is_of_mixture: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self, likelihood: Any) -> None:
        """Raises unless it is fitted, and fits the kind of likelihood."""

    def logits(self, logits: Tensor) -> Tensor:
        """Maps the logits of one draw, `[..., K]`."""
        return logits

    def noise(self, distribution: Any) -> Any:
        """Maps the distribution of targets at one draw, `[..., k]`."""
        return distribution

    def probabilities(self, probabilities: Tensor) -> Tensor:
        """Maps averaged probabilities of classes `[..., K]`, or of yes."""
        return probabilities

    def levels(self, levels: Tensor) -> Tensor:
        """Maps values of the mixture's distribution function, `[..., k]`."""
        return levels

    def raw_levels(self, levels: Tensor) -> Tensor:
        """Inverts `levels`."""
        return levels

    def slopes(self, levels: Tensor) -> Tensor:
        """Computes the derivative of `levels`, `[..., k]`."""
        raise NotImplementedError(
            f"{type(self).__name__} maps no distribution function."
        )

    @abc.abstractmethod
    def get_config(self) -> Config:
        """Returns the arguments of the constructor, as plain data."""
