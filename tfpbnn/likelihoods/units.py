"""Converts between units of the targets and those of the network."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, data, forms
from tfpbnn.base.types import Array, Tensor

# A column whose standard deviation is less than this share of its mean is one
# value that was rounded.
_CONSTANT = 1e-12


class Units(NamedTuple):
    """The units of targets y: `y = mean + stddev * z` with standardized z.

    Attributes:
        mean: one number for each target, or a single one for all of them.
        stddev: one positive number for each target, or a single one.
    """

    mean: tuple[float, ...] = (0.0,)
    stddev: tuple[float, ...] = (1.0,)

    def check_size(self, num_targets: int, name: str) -> None:
        """Raises if the units are those of another number of targets."""
        if len(self.mean) not in (1, num_targets):
            raise ValueError(
                f"`{name}` must be adapted to as many targets as the model's "
                f"outputs describe, {num_targets}. Received: units of "
                f"{len(self.mean)} targets. The last axis of the `y` in "
                "`adapt(y)` is that of the targets: where it is one of steps "
                "or pixels, pass y[..., np.newaxis]"
            )

    def rescale(self, scale: Any, offset: Any) -> "Units":
        """Computes the units of `scale * y + offset`."""
        scale, offset = _factor(scale), _numbers("offset", offset)
        mean, stddev, scale, offset = np.broadcast_arrays(
            self.mean, self.stddev, scale, offset
        )
        return Units(
            tuple(map(float, scale * mean + offset)),
            tuple(map(float, scale * stddev)),
        )

    def standardized(self, y: Tensor) -> Tensor:
        """Converts targets `[..., k]` to the units of the network."""
        return (y - tf.constant(self.mean, y.dtype)) / self.stddevs(y)

    def stddevs(self, like: Tensor) -> Tensor:
        """Returns standard deviations, `[k]` or `[1]`, in a tensor's dtype."""
        return tf.constant(self.stddev, like.dtype)

    def restored(self, distribution: Any) -> Any:
        """Converts a distribution of standardized targets to their units.

        Args:
            distribution: a TFP distribution of batch shape `[..., k]` that has
                a `loc` and a `scale`, or is a mixture of such.
        """
        return changed(distribution, self._moved)

    def _moved(self, distribution: Any, shape: tuple[int, ...]) -> Any:
        loc, scale = distribution.loc, distribution.scale
        mean = tf.constant(np.reshape(self.mean, shape), loc.dtype)
        stddev = tf.constant(np.reshape(self.stddev, shape), loc.dtype)
        return distribution.copy(loc=mean + stddev * loc, scale=stddev * scale)


def changed(
    distribution: Any, change: Callable[[Any, tuple[int, ...]], Any]
) -> Any:
    """Changes a distribution with a `loc` and a `scale`, or a mixture of such.

    Args:
        distribution: a TFP distribution of batch shape `[..., k]`.
        change: a function that takes the distribution, or a mixture's
            components, and the shape in which k numbers broadcast to them.
    """
    parts = getattr(distribution, "components_distribution", None)
    if parts is None:
        return change(distribution, (-1,))
    # The components are on an axis after that of the targets.
    return distribution.copy(components_distribution=change(parts, (-1, 1)))


def of(y: Any, sample_weight: Any = None) -> Units:
    """Computes the mean and the standard deviation of each target.

    Args:
        y: see `Likelihood.adapt`.
        sample_weight: see `Likelihood.adapt`.
    """
    total, mean, squares = 0.0, np.zeros(1), np.zeros(1)
    for values, weights in _batches(y, sample_weight):
        # Chan et al., 1983: exact however the rows are cut into batches.
        count = weights.sum(0)
        new = (weights * values).sum(0) / np.maximum(count, 1e-300)
        gap = new - mean
        share = count / np.maximum(total + count, 1e-300)
        mean = mean + gap * share
        squares = squares + (weights * (values - new) ** 2).sum(0)
        squares = squares + gap**2 * total * share
        total = total + count
    if not np.all(total):
        raise ValueError(
            "`y` must have, for each target, a row that is not NaN and whose "
            f"weight is positive. Received: {np.atleast_1d(total)} such rows"
        )
    stddev = np.sqrt(squares / total)
    stddev = np.where(stddev > _CONSTANT * np.abs(mean), stddev, 1.0)
    return Units(tuple(map(float, mean)), tuple(map(float, stddev)))


def _batches(y: Any, sample_weight: Any) -> Iterator[tuple[Array, Array]]:
    """Reads targets `[n, k]` without NaN, and their weights, batch by batch."""
    if not data.is_stream(y):
        yield _rows(y, sample_weight)
        return
    if sample_weight is not None:
        raise ValueError(
            "`sample_weight` must be None where `y` is a dataset, which brings "
            "the weights as the third part of its batches, (x, y, weight). "
            f"Received: a {type(sample_weight).__name__}"
        )
    if isinstance(y, tf.data.Dataset):
        if int(y.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "`y` must be finite. Received: a tf.data.Dataset that repeats "
                "for ever; end it with `.take(n)`"
            )
        batches = iter(y)
    else:
        batches = (y[index] for index in range(y.num_batches or 0))
    for batch in batches:
        first, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        yield _rows(first if targets is None else targets, weights)


def _rows(y: Any, sample_weight: Any) -> tuple[Array, Array]:
    if isinstance(y, Mapping):
        raise TypeError(
            "`y` must be the targets of one output; each output has a "
            "likelihood of its own, adapted to its targets. Received: a dict "
            f"of {sorted(y)}"
        )
    forms.check_unmasked("`y`", y)
    forms.check_unmasked("`sample_weight`", sample_weight)
    y = np.asarray(y)
    data.check_numbers("`y`", y)
    if y.ndim == 0 or y.dtype.kind not in "biuf":
        raise ValueError(
            "`y` must be real numbers, a row for each example. Received: y of "
            f"shape {y.shape} and dtype {y.dtype}"
        )
    y = y.astype(np.float64)
    weights = _weights(y, sample_weight)
    size = 1 if y.ndim == 1 else y.shape[-1]
    known = ~np.isnan(y) & (weights > 0)
    y = np.where(known, y, 0.0).reshape(-1, size)
    if not np.all(np.isfinite(y)):
        raise ValueError(
            "`y` must be finite, or NaN where a target is not known. "
            "Received: infinite values among its numbers"
        )
    return y, np.where(known, weights, 0.0).reshape(-1, size)


def _weights(y: Array, sample_weight: Any) -> Array:
    """Broadcasts weights to the shape of the targets."""
    if sample_weight is None:
        return np.ones(y.shape)
    weights = np.asarray(sample_weight, np.float64)
    if weights.ndim == y.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    of_rows = (*y.shape[: weights.ndim - 1], 1)
    fits = weights.ndim and weights.shape == y.shape[: weights.ndim]
    fits = fits or (weights.ndim > 1 and weights.shape == of_rows)
    if not fits or not np.all(weights >= 0):
        raise ValueError(
            "`sample_weight` must be numbers of 0 or more, one for each row or "
            f"step of y. Received: weights of shape {weights.shape}, from "
            f"{weights.min(initial=0)}, where y has the shape {y.shape}"
        )
    ones = (1,) * (y.ndim - weights.ndim)
    return np.broadcast_to(weights.reshape(weights.shape + ones), y.shape)


def _factor(scale: Any) -> Array:
    scale = _numbers("scale", scale)
    for one in scale:
        checks.positive_number("scale", one)
    return scale


def _numbers(name: str, value: Any) -> Array:
    """Converts a number, or one for each target, to an array `[1]` or `[k]`."""
    array = np.atleast_1d(np.asarray(value))
    if (
        array.ndim != 1
        or array.dtype.kind not in "iuf"
        or not np.all(np.isfinite(array))
    ):
        raise ValueError(
            f"`{name}` must be a finite number, or a list of one for each "
            f"target. Received: {name}={value!r}"
        )
    return array.astype(np.float64)
