"""How well predicted quantiles fit the targets."""

from typing import Any

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.types import Array
from tfpbnn.metrics import weights


def calibration_curve(
    pit: Array, levels: Array, sample_weight: Any = None
) -> Array:
    """How often a target fell below its predicted quantile, for each level.

    Args:
        pit: predictive distribution functions at the targets, any shape.
        levels: nominal levels between 0 and 1, `[L]`.
        sample_weight: weights with the first axes of `pit`.

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)
    """
    check_finite("pit", pit)
    is_below = np.ravel(pit)[:, None] <= levels
    if sample_weight is None:
        return np.mean(is_below, axis=0)
    each = np.ravel(weights.spread(sample_weight, pit))
    return np.average(is_below, axis=0, weights=each)


def calibration_error(pit: Array, sample_weight: Any = None) -> float:
    """Mean distance of the calibration curve from the diagonal, in [0, 0.5].

    Over the levels 0.05, 0.10, ..., 0.95. About 0.25 at worst for predictions
    that are right in the middle.

    Args:
        pit: predictive distribution functions at the targets, any shape.
        sample_weight: weights with the first axes of `pit`.
    """
    levels = np.linspace(0.05, 0.95, 19)
    curve = calibration_curve(pit, levels, sample_weight)
    return float(np.mean(np.abs(curve - levels)))
