"""Says how much each output's log-likelihood counts in the loss of training.

The weights that `fit` finds are at the maximum of what it was given, so that is
what has to be curved there: each log-likelihood times the output's weight in
`loss_weights`, and where losses are means over unlike numbers of targets, over
these numbers, as the bound of variational layers has it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfpbnn.base import checks
from tfpbnn.base.by_output import each_once, entry_per_output
from tfpbnn.base.keras_private import compile_arguments
from tfpbnn.callbacks import divisor as divisors
from tfpbnn.callbacks.divisor import Divisor
from tfpbnn.callbacks.training_data import TrainingData


def shares(
    model: keras.Model,
    names: Sequence[str],
    needed: Sequence[str],
    given: Mapping[str, Any],
) -> dict[str, float]:
    """Finds what each output's log-likelihood is multiplied with.

    Args:
        model: a compiled model.
        names: of all outputs.
        needed: of those with a likelihood.
        given: `x`, `y` and `sample_weight`, as `fit` takes them.

    Raises:
        ValueError: if a weight is negative, or if some losses are sums and
            others are means.
    """
    arguments = compile_arguments(model)
    each = entry_per_output(arguments.get("loss_weights"), names, None)
    found = {
        name: 1.0
        if weight is None
        else checks.non_negative(f"loss_weights[{name!r}]", float(weight))
        for name, weight in zip(names, each, strict=True)
        if name in needed
    }
    if len(needed) == 1:
        return found
    parts, values = divisors_of(model, given, 1, 1)
    if len({part.reduction == "sum" for part in parts}) > 1:
        raise ValueError(
            "`reduction` of the losses must be 'sum' for all outputs or for "
            "none, since a sum weighs the more the smaller batches are. "
            f"Received: { {part.name: part.reduction for part in parts} }. "
            "Pass `likelihood`, which counts each output once"
        )
    if parts:
        least = divisors.joint(model, parts, values)
        own = each_once(part.name for part in parts)
        for name, value in zip(own, values, strict=True):
            found[name] *= least / value
    return found


def divisors_of(
    model: keras.Model, given: Mapping[str, Any], rows: int, batches: int | None
) -> tuple[list[Divisor], list[float]]:
    """Finds what the losses of an epoch are divided by, each and how much.

    Args:
        model: a compiled model.
        given: `x`, `y` and `sample_weight`, as `fit` takes them; they are read
            where numbers alone don't tell.
        rows: the number of rows.
        batches: that of batches.
    """
    seen = TrainingData(given)
    outputs = divisors.outputs_of(model)
    parts = divisors.divisors_of(model, outputs, seen.example()[1])
    means = [part for part in parts if part.reduction != "sum"]
    if any(map(seen.adds_to, means)):
        names = divisors.names_of(model, outputs)
        counted = iter(seen.count(model, names, means).divisors)
    else:
        counted = iter([part.of_counts(rows, None) for part in means])
    return parts, [
        part.of_counts(rows, batches)
        if part.reduction == "sum"
        else next(counted)
        for part in parts
    ]
