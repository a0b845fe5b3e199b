"""The data of a density: inputs, targets and weights, as arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from tfpbnn.base import data
from tfpbnn.base.by_output import by_output, one_or_each
from tfpbnn.base.types import Array, Tree
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction.results.targets import weights_of
from tfpbnn.training import data_checks


class Rows(NamedTuple):
    """N rows in memory.

    Attributes:
        x: inputs, in the model's structure.
        y: what came as targets, in any structure; None if nothing did.
        weights: what came as weights of rows or places, or None.
    """

    x: Tree
    y: Any
    weights: Any


def gathered(x: Any, y: Any, sample_weight: Any, inputs: Sequence[str]) -> Rows:
    """Reads data in the forms that `fit` takes; streams are read once.

    Args:
        x: an array, a structure of them, or a stream that may bring the others.
        y: targets, or None.
        sample_weight: weights, or None.
        inputs: the names of the inputs.

    Raises:
        TypeError: if x has none of these forms.
        ValueError: if it is empty or has no end, or if batches differ in
            shape.
    """
    if data.is_stream(x):
        data.num_batches(x, 1)  # raises if there is no end
        batches = list(data.weighted_batches(x, 1))
        if not batches:
            raise ValueError("`x` must have one row or more. Received: none")
        x, *brought = (_joined(part) for part in zip(*batches, strict=True))
        y = brought[0] if y is None else y
        sample_weight = brought[1] if sample_weight is None else sample_weight
    if y is None:
        raise ValueError(
            "`y` must be given, unless x is a dataset of (x, y) batches. "
            "Received: y=None"
        )
    x = data.as_arrays("x", x, inputs, is_finite=False)
    return Rows(x, y, sample_weight)


def _joined(parts: Sequence[Any]) -> Any:
    """One structure of arrays of those of all batches; None if none has any."""
    missing = sum(part is None for part in parts)
    if missing == len(parts):
        return None
    if missing:
        raise ValueError(
            "`x` must bring targets and weights with all of its batches or "
            f"with none. Received: {missing} of {len(parts)} batches without"
        )

    def join(*leaves: Any) -> Array:
        arrays = [np.asarray(leaf) for leaf in leaves]
        shapes = {array.shape[1:] for array in arrays}
        if len(shapes) > 1:
            raise ValueError(
                "`x` must have batches of one shape here, since chains look at "
                f"all rows at once. Received: rows of shapes {sorted(shapes)}. "
                "Pad all to the longest"
            )
        return np.concatenate(arrays)

    return keras.tree.map_structure(join, *parts)


def targets_and_weights(
    rows: Rows,
    names: Sequence[str],
    outputs: Sequence[Any],
    masks: Sequence[Array | None],
    likelihoods: Sequence[Likelihood | None],
    dtype: str,
) -> tuple[list[Array], list[Array]]:
    """The targets and weights of each output that has a likelihood.

    Args:
        rows: the data.
        names: of all outputs.
        outputs: those of some rows.
        masks: of each output, of all rows, or None.
        likelihoods: of each output, or None.
        dtype: of the weights.

    Returns:
        targets, and weights `[N]` or of places `[N, ...]`.

    Raises:
        TypeError: if targets are not numbers.
        ValueError: if something does not fit the outputs, or a target that
            counts is none that the likelihood can give.
    """
    parts = list(zip(outputs, masks, likelihoods, strict=True))
    pairs = zip(names, likelihoods, strict=True)
    needed = [name for name, likelihood in pairs if likelihood is not None]
    given = by_output("`y`", rows.y, names, needed)
    weights = one_or_each("`sample_weight`", rows.weights, names, needed)
    count = data.length(rows.x)
    found = [
        _of_output(
            np.asarray(y), weight, mask, count, output, likelihood, dtype
        )
        for y, weight, (output, mask, likelihood) in zip(
            given, weights, parts, strict=True
        )
        if likelihood is not None
    ]
    return [y for y, _ in found], [weight for _, weight in found]


def _of_output(
    y: Array,
    weight: Any,
    mask: Any,
    rows: int,
    output: Any,
    likelihood: Likelihood,
    dtype: str,
) -> tuple[Array, Array]:
    if not y.ndim or len(y) != rows:
        raise ValueError(
            "`y` must have as many rows as x. Received: y of shape "
            f"{y.shape}, and {rows} rows of x"
        )
    data.check_numbers("`y`", y)
    places = (rows, *output.shape[1:-1])
    weights = weights_of(weight, places)
    # Where the weight is 0, or in padding, any value may be, as in `evaluate`.
    data_checks.counted(y, weights, mask, likelihood, output)
    if weights is None:
        return y, np.ones(rows, dtype)
    return y, weights.astype(dtype)
