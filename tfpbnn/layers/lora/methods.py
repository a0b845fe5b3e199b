"""Says which distribution each method gives to the factors of an adapter.

To add a method, enter it in `METHODS`.
"""

import dataclasses

import keras

from tfpbnn import families
from tfpbnn.families import Family


def _point(initializer: str) -> Family:
    return families.PointEstimate(initializer)


def _squared(initializer: str) -> Family:
    return families.SquaredScaleNormal(initializer)


def _mean_field(initializer: str) -> Family:
    small = keras.initializers.Constant(-6.0)  # scales start at 0.0025
    return families.MeanFieldNormal(initializer, small)


@dataclasses.dataclass(frozen=True)
class Method:
    """Describes what is random about an adapter.

    Attributes:
        a: the name of the family of the factor that meets the inputs.
        b: that of the other factor.
        has_prior: whether random factors have a prior, and so a KL.
        drops: whether inputs of the adapter are dropped in prediction too.
    """

    a: str = "point"
    b: str = "point"
    has_prior: bool = False
    drops: bool = False

    @property
    def is_random(self) -> bool:
        """Whether outputs differ between draws."""
        return self.drops or {self.a, self.b} != {"point"}

    def factors(self) -> tuple[Family, Family]:
        """Makes both factors' families; the second begins at zero."""
        made = [
            _FAMILIES[name](initializer)
            for name, initializer in ((self.a, "he_uniform"), (self.b, "zeros"))
        ]
        return made[0], made[1]


_FAMILIES = {"point": _point, "squared": _squared, "mean_field": _mean_field}

METHODS: dict[str, Method] = {
    "blob": Method(a="squared", has_prior=True),
    "deterministic": Method(),
    "mc_dropout": Method(drops=True),
    "mean_field": Method(a="mean_field", b="mean_field", has_prior=True),
    # Scales are set after training, and not trained.
    "tfb": Method(a="squared"),
}
