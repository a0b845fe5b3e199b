"""Calibrates the quantiles of numbers."""

from typing import Any

import numpy as np

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.calibration import steps
from tfpbnn.calibration.base import Calibrator, HeldOut

# Levels nearer to 0 or 1 than this, or to each other, are the same.
_LEAST = 1e-12
# The share of targets, beside one, that may lie so far out on one side.
_MOST_BEYOND = 0.01


@registry.register("calibration")
class IsotonicQuantiles(Calibrator):
    """Maps the predictive distribution function, so that quantiles are right.

    Where 90 % quantiles had 80 % of held-out targets below them, they become
    80 % quantiles. The map R is increasing and linear between knots, from 0 to
    1, with one for each target; the calibrated distribution function is
    R(F(y)). Quantiles, intervals, cdf, samples, moments, density and CRPS are
    those of it. Several targets of a row stay as dependent as they were. Means
    and variances are integrals over 126 quantiles; the epistemic share of the
    variance stays.

    Args:
        num_parts: the number of parts of equal mass between knots; "auto" for
            2 N^(2/5), with which the density is smooth enough to be scored;
            None for a knot at each target, as in the paper, for quantiles
            alone.

    Raises:
        ValueError: if `num_parts` is not as above; in `fit`, if targets are
            counts, which have no continuous distribution, or fewer than 20, or
            further out than the predicted distributions reach.

    Example:
    ```python
    rng = np.random.default_rng(0)
    outputs = np.zeros((500, 2)) + [0.0, 0.5413]        # Normal(0, 1)
    found = tfpbnn.calibration.IsotonicQuantiles().fit_arrays(
        outputs, 2.0 * rng.normal(size=500)
    )
    ```

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)
    """

    targets = "numbers"
    is_of_mixture = True

    def __init__(self, num_parts: int | str | None = "auto"):
        super().__init__()
        if num_parts != "auto":
            checks.positive_integer.optional("num_parts", num_parts)
        self.num_parts = num_parts

    def _check_kind(self, likelihood: Any) -> None:
        super()._check_kind(likelihood)
        if likelihood.is_discrete:
            raise ValueError(
                "`IsotonicQuantiles` must be used for continuous targets. "
                f"Received: {likelihood!r}, whose targets are counts"
            )

    def _fit(self, likelihood: Any, data: HeldOut) -> dict[str, Array]:
        if len(data.y) < 20:
            raise ValueError(
                "`y` must have 20 targets or more that count, to tell "
                f"quantiles by. Received: {len(data.y)}"
            )
        levels = data.predictive.pit(
            data.y.reshape((*data.predictive.outputs.shape[1:-1], -1))
        ).reshape(len(data.y), -1)
        found = [
            self._knots(levels[:, target], data.weights)
            for target in range(levels.shape[1])
        ]
        knots, mapped = map(steps.padded, zip(*found, strict=True))
        return {"knots": knots, "levels": mapped}

    def _knots(self, levels: Array, weights: Array) -> tuple[Array, Array]:
        """Finds the map of one target: knots and what they become, `[M]`."""
        self._check_inside(levels, weights)
        levels = np.clip(levels, _LEAST, 1 - _LEAST)
        places, where = np.unique(levels, return_inverse=True)
        mass = np.bincount(where, weights)
        # The mean over the places of a level, and never 0 or 1.
        one = float(np.sum(weights**2) / np.sum(weights))
        reached = (np.cumsum(mass) - mass / 2 + one / 2) / (np.sum(mass) + one)
        places = np.concatenate([[0.0], places, [1.0]])
        reached = np.concatenate([[0.0], reached, [1.0]])
        if self.num_parts is not None:
            count = self.num_parts
            if count == "auto":
                size = np.sum(weights) ** 2 / np.sum(weights**2)
                count = max(2, round(2 * size**0.4))
            shares = np.linspace(0, 1, int(count) + 1)
            places, reached = np.interp(shares, reached, places), shares
        apart = np.concatenate([[True], np.diff(places) > _LEAST])
        apart[np.flatnonzero(apart)[-1]] &= places[apart][-1] < 1 - _LEAST
        places = np.append(places[apart], 1.0)
        return places, np.append(reached[apart], 1.0)

    def _check_inside(self, levels: Array, weights: Array) -> None:
        most = max(_MOST_BEYOND * np.sum(weights), 1.5 * np.max(weights))
        for beyond in (levels < _LEAST, levels > 1 - _LEAST):
            if weights @ beyond > most:
                raise ValueError(
                    "`y` must be targets that the predicted distributions "
                    "reach. Received: "
                    f"{np.sum(beyond)} of {len(levels)} so far out on one side "
                    "that their levels can't be told apart. Use Scale, or "
                    "conformal intervals such as NormalizedResidual"
                )

    def _levels(self, levels: Tensor) -> Tensor:
        return steps.lines(levels, *self._of(levels))

    def _raw_levels(self, levels: Tensor) -> Tensor:
        knots, mapped = self._of(levels)
        return steps.lines(levels, mapped, knots)

    def _slopes(self, levels: Tensor) -> Tensor:
        return steps.slopes(levels, *self._of(levels))

    def _of(self, levels: Tensor) -> tuple[Array, Array]:
        knots = self._number("knots")
        if levels.shape[-1] != len(knots):
            raise ValueError(
                "`IsotonicQuantiles` must be used for as many targets as it "
                f"was fitted to, {len(knots)}. Received: {levels.shape[-1]}"
            )
        return knots, self._number("levels")

    def get_options(self) -> Config:
        return {"num_parts": self.num_parts}
