"""The arguments that go with each weight of a layer."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfpbnn.base.types import Identifier, Tensor


class OutputNoise(NamedTuple):
    """What a layer draws its outputs from, in place of its weights.

    Attributes:
        mean: the outputs' means, `[B, ...]`.
        scale: their standard deviations, of that shape or a number.
        rows: their indices, `[B]`.
    """

    mean: Tensor
    scale: Tensor
    rows: Tensor


@dataclasses.dataclass(frozen=True)
class Weight:
    """The arguments that go with one of a layer's weights."""

    posterior: Identifier
    prior: Identifier
    initializer: Identifier = None
    regularizer: Identifier = None
    constraint: Identifier = None


def weights_of(arguments: Mapping[str, Any], *names: str) -> dict[str, Weight]:
    """The weights of these names, from the arguments of a constructor.

    Args:
        arguments: its `locals()`, with `kernel_posterior`, `kernel_prior` and
            so on for a weight called "kernel".
        *names: in the order in which the layer uses the weights.
    """
    parts = [field.name for field in dataclasses.fields(Weight)]
    return {
        name: Weight(**{part: arguments[f"{name}_{part}"] for part in parts})
        for name in names
    }
