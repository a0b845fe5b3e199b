"""Holds the arguments that go with each weight of a layer."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfpbnn.base.types import Identifier, Tensor


class OutputNoise(NamedTuple):
    """The distribution from which outputs are drawn in place of weights.

    Attributes:
        mean: the means of the outputs, `[B, ...]`.
        scale: their standard deviations, of that shape or a number.
        rows: the indices of the rows, `[B]`.
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
    """Collects the arguments of these weights from a constructor's arguments.

    Args:
        arguments: the constructor's `locals()`, with `kernel_posterior`,
            `kernel_prior` and so on for a weight called "kernel".
        *names: the names of the weights, in the order of their use.
    """
    parts = [field.name for field in dataclasses.fields(Weight)]
    return {
        name: Weight(**{part: arguments[f"{name}_{part}"] for part in parts})
        for name in names
    }
