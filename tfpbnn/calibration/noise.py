"""Calibrates the noise that a regression predicts."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.types import Array, Tensor
from tfpbnn.calibration import fitting
from tfpbnn.calibration.base import Calibrator, HeldOut
from tfpbnn.likelihoods import units

# Factors from 1 / this to this are believed.
_MOST = 1000.0


@registry.register("calibration")
class Scale(Calibrator):
    """Multiplies the noise's scale by one number for each target.

    The factor is that of the least negative log-likelihood of the mixture over
    draws. Means and the spread of draws stay, so that it mends intervals that
    are too narrow, or a noise that was only guessed (as that of Keras's "mse").
    Where the draws alone are spread too widely, no noise makes up for it: use
    `IsotonicQuantiles`. It is for likelihoods with a location and a scale.

    Example:
    ```python
    rng = np.random.default_rng(0)
    outputs = np.zeros((500, 2)) + [0.0, 0.5413]        # Normal(0, 1)
    found = tfpbnn.calibration.Scale().fit_arrays(
        outputs, 2.0 * rng.normal(size=500)
    )
    found.factors                                       # [2.0] about
    ```

    Reference:
        [Laves et al., 2020](https://arxiv.org/abs/2006.12378)
    """

    targets = "numbers"

    @property
    def factors(self) -> Array:
        """The factors of the noise's scale, one for each target, `[k]`."""
        return np.exp(self._number("numbers"))

    def _check_kind(self, likelihood: Any) -> None:
        super()._check_kind(likelihood)
        if not likelihood.is_location_scale:
            raise ValueError(
                "`Scale` must be used for a likelihood with a location and a "
                f"scale. Received: {likelihood!r}, whose noise has no scale of "
                "its own"
            )

    def _fit(self, likelihood: Any, data: HeldOut) -> dict[str, Array]:
        def log_likelihood(numbers: Tensor, z: Tensor, y: Tensor) -> Tensor:
            found = _scaled(likelihood.marginals(z), tf.exp(numbers))
            return tf.reduce_sum(
                fitting.log_mean_exp(found.log_prob(y)), axis=-1
            )

        numbers = fitting.minimum(
            log_likelihood,
            self._start(likelihood, data),
            data.outputs,
            data.y,
            data.weights,
            name="Scale",
            most=math.log(2 * _MOST),
        )
        factors = np.exp(numbers)
        if np.any((factors < 1 / _MOST) | (factors > _MOST)):
            raise ValueError(
                "`Scale` must have a best factor that is neither 0 nor "
                f"infinite. Received: predictions for which it is {factors}: "
                "either targets are hit exactly, or the draws are spread more "
                "widely than the targets around them; for these there is "
                "IsotonicQuantiles"
            )
        return {"numbers": numbers}

    def _start(self, likelihood: Any, data: HeldOut) -> Array:
        """The logarithms of factors that give errors their mean square."""
        mean, epistemic, aleatoric = (
            part.reshape(len(data.y), -1) for part in data.predictive.summaries
        )
        share = data.weights[:, np.newaxis] / np.sum(data.weights)
        with np.errstate(all="ignore"):
            left = np.square(data.y - mean) - epistemic
            ratio = np.sum(share * left / aleatoric, axis=0)
        is_known = np.isfinite(ratio) & (ratio > 0)
        return 0.5 * np.log(np.clip(np.where(is_known, ratio, 1), 1e-4, 1e4))

    def _noise(self, distribution: Any) -> Any:
        return _scaled(distribution, self.factors)


def _scaled(distribution: Any, factors: Any) -> Any:
    def change(one: Any, shape: tuple[int, ...]) -> Any:
        factor = tf.reshape(tf.cast(factors, one.scale.dtype), shape)
        return one.copy(scale=one.scale * factor)

    return units.changed(distribution, change)
