"""Conformal sets and intervals of streams, which drift."""

from typing import Any

import keras

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config
from tfpbnn.calibration.conformal.base import Conformal
from tfpbnn.calibration.conformal.files import Saved
from tfpbnn.calibration.conformal.intervals import Intervals
from tfpbnn.calibration.conformal.sets import LabelSets
from tfpbnn.prediction.results import Predictive


@registry.register("calibration")
class AdaptiveConformal(Saved):
    """Moves the coverage that is asked for until the one that is had is right.

    After each label that arrives, the level of errors grows if it was inside,
    and shrinks if it was not. So over T labels the share that is not inside is
    within (max(a, 1 - a) + step) / (T step) of a = 1 - coverage, with any
    stream, also one that was made to fool it.

    Args:
        conformal: a fitted predictor of one target or label, without groups and
            weights, such as `CQR` or `APS`.
        step: how far a label moves the level: more follows drift faster, and
            makes sets change more.

    Attributes:
        level: the present level of errors.
        num_labels: the number of labels that have arrived.
        num_errors: the number of those that were not inside.

    Raises:
        ValueError: if `conformal` is not fitted, or has groups, weights or
            several targets; if `step` is not positive.

    Example:
    ```python
    split = tfpbnn.calibration.CQR().fit(p, y_test, coverage=0.9)
    stream = tfpbnn.calibration.AdaptiveConformal(split, step=0.01)
    low, high = stream.interval(p[:1])
    stream.update(p[:1], y_test[:1])                # the label has arrived
    stream.level                                    # moved from 0.1
    ```

    Reference:
        [Gibbs and Candes, 2021](https://arxiv.org/abs/2106.00170)
    """

    def __init__(self, conformal: Conformal, step: float = 0.005):
        scores = conformal._fitted()
        is_plain = not (conformal.is_grouped or conformal.is_weighted)
        if not is_plain or any(len(columns) > 1 for columns in scores.values()):
            raise ValueError(
                "`conformal` must be of one target, without groups and "
                f"weights. Received: {conformal!r} that was fitted with more"
            )
        self.conformal = conformal
        self.step = checks.positive_number("step", step)
        self.level = 1 - conformal.coverage
        self.num_labels = self.num_errors = 0

    def interval(self, predictive: Predictive) -> tuple[Array, Array]:
        """Finds intervals at the present level, `[N, k]` each.

        They are infinite where the level is 0 or less.

        Args:
            predictive: the predictions of N rows.
        """
        if not isinstance(self.conformal, Intervals):
            raise ValueError(
                "`interval` must be asked of intervals. Received: "
                f"{self.conformal!r}, which has `sets`"
            )
        limits = self.conformal.thresholds(predictive, coverage=1 - self.level)
        return self.conformal.within(predictive, limits)

    def sets(self, predictive: Predictive) -> Array:
        """Finds sets of labels at the present level, `[N, K]`.

        Args:
            predictive: the predictions of N rows.
        """
        if not isinstance(self.conformal, LabelSets):
            raise ValueError(
                "`sets` must be asked of sets of labels. Received: "
                f"{self.conformal!r}, which has `interval`"
            )
        limits = self.conformal.thresholds(predictive, coverage=1 - self.level)
        return self.conformal.within(predictive, limits)

    def update(self, predictive: Predictive, y: Any) -> float:
        """Takes labels that have arrived, in their order.

        Args:
            predictive: the predictions of their N rows.
            y: the targets or labels, `[N]` or `[N, 1]`.

        Returns:
            The new level of errors.

        Raises:
            ValueError: if y does not fit.
        """
        wanted = 1 - self.conformal.coverage
        (column,) = self.conformal._fitted()["all"]
        for score in self.conformal.scores_of(predictive, y).ravel():
            is_error = bool(score > column.threshold(1 - self.level))
            self.level += self.step * (wanted - is_error)
            self.num_labels += 1
            self.num_errors += is_error
        return self.level

    def get_config(self) -> Config:
        conformal = keras.saving.serialize_keras_object(self.conformal)
        return {
            "conformal": conformal,
            "step": self.step,
            "level": self.level,
            "num_labels": self.num_labels,
            "num_errors": self.num_errors,
        }

    @classmethod
    def from_config(cls, config: Config) -> "AdaptiveConformal":
        conformal = keras.saving.deserialize_keras_object(config["conformal"])
        found = cls(conformal, config["step"])
        found.level = config["level"]
        found.num_labels = config["num_labels"]
        found.num_errors = config["num_errors"]
        return found
