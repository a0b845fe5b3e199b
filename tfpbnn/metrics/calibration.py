"""How well predicted quantiles fit the targets."""

from typing import Any

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.types import Array
from tfpbnn.metrics import weights


def calibration_curve(
    pit: Array,
    levels: Array,
    sample_weight: Any = None,
    below: Array | None = None,
) -> Array:
    """How often a target fell below its predicted quantile, for each level.

    Args:
        pit: predictive distribution functions at the targets, any shape.
        levels: nominal levels between 0 and 1, `[L]`.
        sample_weight: weights with the first axes of `pit`.
        below: of counts, the functions just below the targets, of the same
            shape. A target then is below its quantile as often as a random
            place between the two is below the level.

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263); for counts
        [Czado et al., 2009](https://doi.org/10.1111/j.1541-0420.2009.01191.x)
    """
    check_finite("pit", pit)
    each = weights.spread(1.0 if sample_weight is None else sample_weight, pit)
    if below is None:
        shares = np.ravel(pit)[:, None] <= levels
    else:
        start, stop = np.ravel(below)[:, None], np.ravel(pit)[:, None]
        width = np.maximum(stop - start, np.finfo(np.float64).tiny)
        shares = np.clip((levels - start) / width, 0, 1)
    return np.average(shares, axis=0, weights=np.ravel(each))


def calibration_error(
    pit: Array, sample_weight: Any = None, below: Array | None = None
) -> float:
    """Mean distance of the calibration curve from the diagonal, in [0, 0.5].

    Over the levels 0.05, 0.10, ..., 0.95. About 0.25 at worst for predictions
    that are right in the middle.

    Args:
        pit: predictive distribution functions at the targets, any shape.
        sample_weight: weights with the first axes of `pit`.
        below: as for `calibration_curve`.
    """
    levels = np.linspace(0.05, 0.95, 19)
    curve = calibration_curve(pit, levels, sample_weight, below)
    return float(np.mean(np.abs(curve - levels)))
