"""What a server is asked with beside features, and thresholds made of it.

A threshold is a rank among held-out scores, which with weights depends on that
of the new row. It is a step function of it, whose steps are known beforehand:
so a graph needs comparisons alone, which all formats have.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor
from tfpbnn.calibration.conformal.scores import Scores

_KINDS = {"b": "bool", "i": "int64", "u": "int64", "U": "string", "S": "string"}
# Less of the wanted mass, as in `Scores.threshold`.
_LESS = 1 - 1e-12


class Asked(NamedTuple):
    """An input that comes with each row of a request.

    Attributes:
        dtype: the name of its type; "" for one that can't be served.
        by_place: whether each place has its own, rather than each row.
    """

    dtype: str
    by_place: bool

    @classmethod
    def of(cls, array: Any, dtype: str | None = None) -> "Asked":
        """Says how new rows are to bring what held-out rows brought."""
        found = np.asarray(array)
        if dtype is None:
            if found.dtype.kind == "O":
                found = np.asarray(found.tolist())
            dtype = _KINDS.get(found.dtype.kind, "")
        return cls(dtype, any(size > 1 for size in found.shape[1:]))

    def spec(self, places: Sequence[int | None]) -> tf.TensorSpec:
        """Makes the spec of the input, for outputs of places `[B, ...]`."""
        shape = [None, *(places[1:] if self.by_place else [])]
        return tf.TensorSpec(shape, self.dtype)


def limits(
    conformal: Any, predictive: Any, given: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Finds the largest score that is inside, for the rows of a request.

    Args:
        conformal: a fitted predictor.
        predictive: a prediction of these rows, in tensors.
        given: what they bring, by name.

    Returns:
        The limits, which broadcast to `[B, ..., k]`, and where they are ones,
        `[B, ..., 1]`: groups are known, and weights 0 or more; None if all are.
    """
    names, columns = _columns(conformal, predictive)
    dtype, valid = predictive.mean.dtype, None
    weights = given.get("sample_weight")
    steps: Tensor = [[-np.inf]]
    if weights is None:
        found = np.vectorize(lambda c: c.threshold(conformal.coverage))(columns)
        values: Array = found[..., np.newaxis]
    else:
        steps, values = _steps(columns, conformal.coverage)
        weights = _of_places(weights, predictive)[..., tf.newaxis]
        valid = tf.math.is_finite(weights) & (weights >= 0)
    values, steps = tf.constant(values, dtype), tf.constant(steps, tf.float32)
    if names is None:
        values, steps = values[0], steps[0]
    else:
        groups = _of_places(given["groups"], predictive)
        is_one = tf.equal(groups[..., tf.newaxis], _constant(names, groups))
        which = tf.argmax(tf.cast(is_one, tf.int32), axis=-1)
        values = tf.gather(values, which)
        steps = steps if weights is None else tf.gather(steps, which)
        known = tf.reduce_any(is_one, axis=-1, keepdims=True)
        valid = known if valid is None else valid & known
    if weights is None:
        return values[..., 0], valid
    reached = steps < weights[..., tf.newaxis]
    low = tf.constant(-np.inf, dtype)
    return tf.reduce_max(tf.where(reached, values, low), axis=-1), valid


def _columns(conformal: Any, predictive: Any) -> tuple[list[str] | None, Array]:
    """Returns names of groups, and scores by group and target, `[G, k]`."""
    scores = conformal.scores
    if conformal.by_class:
        size = max(predictive.outputs_shape[-1], 2)
        never = Scores(np.empty(0), np.array([np.inf]))
        columns = [scores.get(str(k), [never])[0] for k in range(size)]
        return None, _objects([columns])
    grouped = conformal.is_grouped
    return list(scores) if grouped else None, _objects(list(scores.values()))


def _objects(rows: list[list[Any]]) -> Array:
    found: Array = np.empty((len(rows), len(rows[0])), object)
    for place in np.ndindex(found.shape):
        found[place] = rows[place[0]][place[1]]
    return found


def _steps(columns: Array, coverage: float) -> tuple[Array, Array]:
    """Finds where thresholds change, as functions of a new row's weight.

    Returns:
        The weights above which values are reached, and these values in
        ascending order, `[G, k, n + 1]` each; infinite beyond the last one.
    """
    most = max(len(one.values) for one in columns.flat)
    above: Array = np.full((*columns.shape, most + 1), np.inf)
    values = np.full_like(above, np.inf)
    for place in np.ndindex(columns.shape):
        one = columns[place]
        count = len(one.values)
        values[place][:count] = one.values
        above[place][0] = -np.inf
        if count:
            reached = one.mass / (coverage * _LESS) - one.mass[-1]
            above[place][1 : count + 1] = reached
    # Of weights in float32 the same are above what is rounded down.
    rounded: Array = above.astype(np.float32)
    down = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > above, down, rounded), values


def _constant(names: list[str], like: Tensor) -> Tensor:
    if like.dtype == tf.string:
        return tf.constant(names)
    if like.dtype == tf.bool:
        return tf.constant([name == "True" for name in names])
    return tf.constant([int(name) for name in names], like.dtype)


def _of_places(given: Tensor, predictive: Any) -> Tensor:
    """Gives what is of rows `[B]` as many axes as places have."""
    missing = len(predictive.outputs_shape) - 1 - len(given.shape)
    index = (..., *[tf.newaxis] * missing)
    return given[index]
