"""Defines priors over a layer's weights.

How to add one: subclass `Prior`, give it `distribution` (and `cross_entropy`
where it has a closed form), and add it to `_PRIORS`. Parameters that are
learned from the data are variables made in `build`; if they have a posterior,
its KL is the prior's `extra_divergence`.
"""

from collections.abc import Callable

from tfpbnn.base import registry
from tfpbnn.base.types import Identifier
from tfpbnn.priors.base import Prior
from tfpbnn.priors.heavy_tailed import Laplace, StudentT
from tfpbnn.priors.hierarchical import HierarchicalNormal
from tfpbnn.priors.horseshoe import Horseshoe, RegularizedHorseshoe
from tfpbnn.priors.hyperpriors import HalfCauchy, Hyperprior, InverseGamma
from tfpbnn.priors.log_uniform import LogUniform
from tfpbnn.priors.moped import MOPED, moped
from tfpbnn.priors.normal import Normal, he_normal
from tfpbnn.priors.previous_posterior import PreviousPosterior
from tfpbnn.priors.scale_mixture import ScaleMixture

_PRIORS: dict[str, Callable[[], Prior]] = {
    "he_normal": he_normal,
    "hierarchical_normal": HierarchicalNormal,
    "horseshoe": Horseshoe,
    "laplace": Laplace,
    "log_uniform": LogUniform,
    "moped": MOPED,
    "normal": Normal,
    "regularized_horseshoe": RegularizedHorseshoe,
    "scale_mixture": ScaleMixture,
    "spike_and_slab": ScaleMixture,
    "student_t": StudentT,
}


def get(identifier: Identifier, argument: str = "prior") -> Prior | None:
    """Finds a prior by name, config or object; None stays None (no KL).

    Args:
        identifier: a name ("normal", "he_normal", "spike_and_slab" for a
            `ScaleMixture`, the other classes'), a config, an instance of
            `Prior`, or None.
        argument: the name of the argument, for errors.

    Raises:
        ValueError: if a name is unknown; the message lists the known ones.
        TypeError: if the identifier is not a prior.
    """
    return registry.get(identifier, Prior, _PRIORS, argument)


__all__ = [  # noqa: RUF022  it takes MOPED for a constant
    "HalfCauchy",
    "HierarchicalNormal",
    "Horseshoe",
    "Hyperprior",
    "InverseGamma",
    "Laplace",
    "LogUniform",
    "MOPED",
    "Normal",
    "PreviousPosterior",
    "Prior",
    "RegularizedHorseshoe",
    "ScaleMixture",
    "StudentT",
    "get",
    "he_normal",
    "moped",
]
