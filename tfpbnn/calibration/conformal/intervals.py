"""Conformal intervals of numbers."""

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.calibration.conformal.base import Conformal
from tfpbnn.prediction.results import Predictive


class Intervals(Conformal):
    """Intervals that have the target inside as often as wanted.

    Each of k targets has intervals with the coverage of its own.
    """

    @abc.abstractmethod
    def _around(self, predictive: Any) -> tuple[Any, Any, Any]:
        """Returns lower and upper ends, and the unit of scores, `[..., k]`.

        They are arrays or tensors, as those of the prediction.
        """

    def interval(
        self,
        predictive: Predictive,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        coverage: float | None = None,
    ) -> tuple[Array, Array]:
        """Finds the interval of each new row's targets.

        Args:
            predictive: the predictions of N new rows.
            groups: the groups of these rows, if `fit` had some.
            sample_weight: the weights of these rows, if `fit` had some.
            coverage: another coverage than that of `fit`.

        Returns:
            The ends (lower, upper), `[N, ..., k]` each. They are infinite where
            there are too few held-out rows for the weights, or for another
            coverage.

        Raises:
            ValueError: if it is not fitted, or an argument does not fit.
        """
        checks.open_fraction.optional("coverage", coverage)
        limits = self.thresholds(predictive, groups, sample_weight, coverage)
        return self.within(predictive, limits)

    def within(
        self, predictive: Predictive, limits: Array
    ) -> tuple[Array, Array]:
        """Finds the intervals of targets whose scores are within limits.

        Where no target's is, the interval is the one point in its middle.

        Args:
            predictive: the predictions of N rows.
            limits: the largest scores, `[N, ..., k]`.
        """
        lower, upper = self._ends(predictive, limits)
        return lower.numpy(), upper.numpy()

    def _answers(
        self, predictive: Any, limits: Tensor, share: Tensor | None
    ) -> dict[str, Tensor]:
        lower, upper = self._ends(predictive, limits)
        return {"lower": lower, "upper": upper}

    def _ends(self, predictive: Any, limits: Any) -> tuple[Tensor, Tensor]:
        lower, upper, unit = self._around(predictive)
        middle = (lower + upper) / 2
        # Where no target is within the limits, both ends are the middle.
        return (
            tf.minimum(lower - limits * unit, middle),
            tf.maximum(upper + limits * unit, middle),
        )

    def _check_kind(self, predictive: Any) -> None:
        if predictive.likelihood.is_classification:
            raise ValueError(
                f"`{type(self).__name__}` must be used for predictions of "
                f"numbers. Received: {predictive.likelihood!r}; for labels "
                "there are LAC, APS and RAPS"
            )

    def _scores(
        self, predictive: Predictive, y: Array, is_new: bool = False
    ) -> Array:
        lower, upper, unit = self._around(predictive)
        return np.maximum(lower - y, y - upper) / unit


@registry.register("calibration")
class AbsoluteResidual(Intervals):
    """The predictive mean, more or less one number for all rows.

    Example:
    ```python
    found = tfpbnn.calibration.AbsoluteResidual().fit(p, y_test, coverage=0.9)
    low, high = found.interval(p)
    ```

    Reference:
        [Lei et al., 2018](https://arxiv.org/abs/1604.04173)
    """

    def _around(self, predictive: Any) -> tuple[Any, Any, Any]:
        return predictive.mean, predictive.mean, 1.0


@registry.register("calibration")
class NormalizedResidual(Intervals):
    """The predictive mean, more or less a multiple of its standard deviation.

    Intervals are wide where the model is unsure.

    Example:
    ```python
    found = tfpbnn.calibration.NormalizedResidual().fit(p, y_test)
    low, high = found.interval(p)
    ```

    Reference:
        [Lei et al., 2018](https://arxiv.org/abs/1604.04173)
    """

    def _around(self, predictive: Any) -> tuple[Any, Any, Any]:
        return predictive.mean, predictive.mean, predictive.stddev

    def _check_numbers(self, predictive: Predictive) -> None:
        unit = predictive.stddev  # NaN where places are masked
        if np.any(unit <= 0):
            raise ValueError(
                "`predictive` must have standard deviations above 0. "
                f"Received: {np.nanmin(unit)} among them; AbsoluteResidual "
                "needs none"
            )


@registry.register("calibration")
class CQR(Intervals):
    """The predictive quantiles, moved out or in by one number for all rows.

    Conformalized quantile regression. The quantiles are those of the mixture
    over draws, so intervals need not be symmetric about the mean.

    Args:
        level: the probability between the two quantiles; None for the coverage
            that `fit` is given.

    Raises:
        ValueError: if `level` is not between 0 and 1.

    Example:
    ```python
    found = tfpbnn.calibration.CQR().fit(p, y_test, coverage=0.9)
    low, high = found.interval(p)
    ```

    Reference:
        [Romano et al., 2019](https://arxiv.org/abs/1905.03222)
    """

    needs_quantiles = True

    def __init__(self, level: float | None = None):
        super().__init__()
        self.level = checks.open_fraction.optional("level", level)

    def _around(self, predictive: Any) -> tuple[Any, Any, Any]:
        level = self.coverage if self.level is None else self.level
        lower, upper = predictive.interval(level)
        return lower, upper, 1.0

    def get_options(self) -> Config:
        return {"level": self.level}
