"""Defines maps from what a model predicts to what held-out data bear out."""

import abc
from typing import Any, ClassVar, Optional

import tensorflow as tf

from tfpbnn.base.types import Config, Tensor


class Recalibration(abc.ABC):
    """A map of predictions that a likelihood applies; `calibration` has them.

    It acts on each draw (on logits, or on the noise's distribution), or on the
    mixture over draws (on its probabilities, or on its distribution function).
    What it does not act on it leaves as it is. It may be fitted over another
    one, whose map then comes first. It is saved with the likelihood, and so
    with the loss of a model.

    Attributes:
        is_of_mixture: whether it acts on the mixture over draws.
        over: the one that it was fitted over; None for a raw model.
    """

    is_of_mixture: ClassVar[bool] = False
    over: Optional["Recalibration"] = None

    @abc.abstractmethod
    def check(self, likelihood: Any) -> None:
        """Raises unless it is fitted, and fits the kind of likelihood."""

    @property
    def of_draws(self) -> Optional["Recalibration"]:
        """The part that acts on each draw, which is below all others."""
        found: Recalibration | None = self
        while found is not None and found.is_of_mixture:
            found = found.over
        return found

    def logits(self, logits: Tensor) -> Tensor:
        """Maps the logits of one draw, `[..., K]`."""
        return self._logits(self.over.logits(logits) if self.over else logits)

    def noise(self, distribution: Any) -> Any:
        """Maps the distribution of targets at one draw, `[..., k]`."""
        if self.over is not None:
            distribution = self.over.noise(distribution)
        return self._noise(distribution)

    def probabilities(self, probabilities: Tensor) -> Tensor:
        """Maps averaged probabilities of classes `[..., K]`, or of yes."""
        if self.over is not None:
            probabilities = self.over.probabilities(probabilities)
        return self._probabilities(probabilities)

    def levels(self, levels: Tensor) -> Tensor:
        """Maps values of the mixture's distribution function, `[..., k]`."""
        return self._levels(self.over.levels(levels) if self.over else levels)

    def raw_levels(self, levels: Tensor) -> Tensor:
        """Inverts `levels`."""
        found = self._raw_levels(levels)
        return found if self.over is None else self.over.raw_levels(found)

    def slopes(self, levels: Tensor) -> Tensor:
        """Computes the derivative of `levels`, `[..., k]`."""
        if self.over is None:
            return self._slopes(levels)
        return self._slopes(self.over.levels(levels)) * self.over.slopes(levels)

    # What this one does, without those below it.

    def _logits(self, logits: Tensor) -> Tensor:
        return logits

    def _noise(self, distribution: Any) -> Any:
        return distribution

    def _probabilities(self, probabilities: Tensor) -> Tensor:
        return probabilities

    def _levels(self, levels: Tensor) -> Tensor:
        return levels

    def _raw_levels(self, levels: Tensor) -> Tensor:
        return levels

    def _slopes(self, levels: Tensor) -> Tensor:
        return tf.ones_like(levels)

    @abc.abstractmethod
    def get_config(self) -> Config:
        """Returns the arguments of the constructor, as plain data."""
