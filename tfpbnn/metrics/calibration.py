"""How well predicted quantiles fit the targets."""

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.types import Array


def calibration_curve(pit: Array, levels: Array) -> Array:
    """How often a target fell below its predicted quantile, for each level.

    Args:
        pit: predictive distribution functions at the targets, any shape.
        levels: nominal levels between 0 and 1, `[L]`.

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)
    """
    check_finite("pit", pit)
    return np.mean(np.ravel(pit)[:, None] <= levels, axis=0)


def calibration_error(pit: Array) -> float:
    """Mean distance of the calibration curve from the diagonal, in [0, 0.5].

    Over the levels 0.05, 0.10, ..., 0.95. About 0.25 at worst for predictions
    that are right in the middle.

    Args:
        pit: predictive distribution functions at the targets, any shape.
    """
    levels = np.linspace(0.05, 0.95, 19)
    return float(np.mean(np.abs(calibration_curve(pit, levels) - levels)))
