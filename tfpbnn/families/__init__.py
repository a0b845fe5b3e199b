"""Defines posterior families, the distributions that weights can have.

How to add one: subclass `Family`, give it `build`, `loc`, `sample` and
`distribution` (and `noise`, `variance` and `entropy` where they have a closed
form), declare which properties hold, and add it to `_FAMILIES`.
"""

from collections.abc import Callable

from tfpbnn.base import registry
from tfpbnn.base.types import Identifier
from tfpbnn.families.base import Family
from tfpbnn.families.drop_connect import DropConnect
from tfpbnn.families.full_covariance_normal import FullCovarianceNormal
from tfpbnn.families.initial_scales import HeScale, he_normal
from tfpbnn.families.ktied_normal import KTiedNormal
from tfpbnn.families.low_rank_normal import LowRankNormal
from tfpbnn.families.matrix_normal import MatrixNormal
from tfpbnn.families.mean_field_normal import MeanFieldNormal
from tfpbnn.families.point_estimate import PointEstimate
from tfpbnn.families.radial import Radial
from tfpbnn.families.squared_scale_normal import SquaredScaleNormal

_FAMILIES: dict[str, Callable[[], Family]] = {
    "delta": PointEstimate,
    "drop_connect": DropConnect,
    "full_covariance_normal": FullCovarianceNormal,
    "he_normal": he_normal,
    "ktied_normal": KTiedNormal,
    "low_rank_normal": LowRankNormal,
    "matrix_normal": MatrixNormal,
    "mean_field_normal": MeanFieldNormal,
    "point_estimate": PointEstimate,
    "radial": Radial,
    "squared_scale_normal": SquaredScaleNormal,
}


def get(identifier: Identifier, argument: str = "posterior") -> Family | None:
    """Finds a posterior family by name, config or object; None stays None.

    Args:
        identifier: a name ("mean_field_normal", "he_normal", "delta", the
            other classes'), a config, an instance of `Family`, or None.
        argument: the name of the argument, for errors.

    Raises:
        ValueError: if a name is unknown; the message lists the known ones.
        TypeError: if the identifier is not a family.
    """
    return registry.get(identifier, Family, _FAMILIES, argument)


__all__ = [
    "DropConnect",
    "Family",
    "FullCovarianceNormal",
    "HeScale",
    "KTiedNormal",
    "LowRankNormal",
    "MatrixNormal",
    "MeanFieldNormal",
    "PointEstimate",
    "Radial",
    "SquaredScaleNormal",
    "get",
    "he_normal",
]
