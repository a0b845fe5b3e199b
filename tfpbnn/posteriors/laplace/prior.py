"""Says how precise the prior of each random weight is."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.densities.choosing import matches
from tfpbnn.posteriors.laplace import evidence
from tfpbnn.posteriors.laplace.blocks import Block


def each(value: Any, variables: Sequence[keras.Variable]) -> Array:
    """Gives each weight its precision, `[W]`.

    Args:
        value: one number, or a dict of them by names of layers or patterns of
            paths, of which the first that matches counts.
        variables: the W weights.

    Raises:
        ValueError: if a precision is not positive, a pattern matches nothing,
            or nothing matches a weight.
    """
    if not isinstance(value, Mapping):
        number = checks.positive_number("prior_precision", value)
        return np.full(len(variables), number)
    paths = [v.path for v in variables]
    found = [[p for p in value if matches(p, path)] for path in paths]
    unused = sorted(set(value) - {p for patterns in found for p in patterns})
    missing = [
        p for p, patterns in zip(paths, found, strict=True) if not patterns
    ]
    if unused or missing:
        raise ValueError(
            "`prior_precision` must name layers, or patterns of paths, of all "
            f"random weights. Received: {unused}, which match none of {paths}, "
            f"and none for {missing}. The pattern '*' is for all others"
        )
    return np.array(
        [
            checks.positive_number("prior_precision", value[patterns[0]])
            for patterns in found
        ]
    )


def by_layer(variables: Sequence[keras.Variable]) -> Array:
    """Numbers the layers that weights belong to, `[W]`."""
    layers = [v.path.rpartition("/")[0] for v in variables]
    known = list(dict.fromkeys(layers))
    return np.array([known.index(layer) for layer in layers])


def tuned(
    blocks: Sequence[Block],
    sizes: Sequence[int],
    squares: Array,
    groups: Array,
) -> Array:
    """Finds the precisions of weights with the largest marginal likelihood.

    Args:
        blocks: the curvature.
        sizes: the number of elements of each weight, `[W]`.
        squares: the sum of squares of each weight, `[W]`.
        groups: of weights that have the same precision, `[W]`.

    Returns:
        `[W]`.
    """
    by_group = np.bincount(groups, squares)
    if any(len(block.weights) > 1 for block in blocks):
        (block,) = blocks
        every = block.own(np.repeat(groups, sizes))
        values = np.ravel(block.eigenvalues)
        start = evidence.best_precision(values, by_group.sum())
        found = evidence.best_precisions(block.root(), every, by_group, start)
        return found[groups]
    each_values: list[Any] = [[] for _ in by_group]
    for block in blocks:
        each_values[groups[block.weights[0]]].append(
            np.ravel(block.eigenvalues)
        )
    tuned_each = [
        evidence.best_precision(np.concatenate(own), square)
        for own, square in zip(each_values, by_group, strict=True)
    ]
    return np.array(tuned_each)[groups]
