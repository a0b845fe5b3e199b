"""Aligns targets with predictions: which count, and with what weight."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base import data, forms
from tfpbnn.base.places import over_places, over_targets
from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Likelihood


class Scored(NamedTuple):
    """The rows of a prediction that count, with their targets and weights.

    If all places `[N, ...]` count, they stay as they are; else the n places
    that count take the place of rows.

    Attributes:
        predictive: the prediction of these places.
        y: their targets, aligned and in the support of the likelihood.
        weights: the weights of the places; None if all weigh the same.
        counted: booleans that say which places these are, `[N, ...]`; None if
            all count.
    """

    predictive: Any
    y: Array
    weights: Array | None
    counted: Array | None


def scored(predictive: Any, y: Any, sample_weight: Any = None) -> Scored:
    """Selects what a score is computed of; other values are not looked at.

    Args:
        predictive: a `Predictive` of N rows.
        y: targets, one row for each predicted row.
        sample_weight: weights of rows `[N]` or of places `[N, ...]`, or None.
    """
    p = predictive
    y, counted, weights = aligned(
        y, sample_weight, p.mask, p.likelihood, p.outputs_shape
    )
    if counted is None:
        return Scored(p, y, weights, None)
    weights = None if weights is None else weights[counted]
    return Scored(p[counted], y[counted], weights, counted)


def by_place(
    function: Callable[[Any, Array], Array], predictive: Any, y: Any
) -> Array:
    """Calls `function(prediction, targets)`; NaN where places don't count."""
    p, y, _, counted = scored(predictive, y)
    found = function(p, y)
    if counted is None:
        return found
    everywhere = np.full((*counted.shape, *found.shape[1:]), np.nan)
    everywhere[counted] = found
    return everywhere


class Targets(NamedTuple):
    """The targets of the places `[N, ...]` of outputs `[N, ..., P]`.

    Attributes:
        y: the targets, aligned with the outputs, and in the support of the
            likelihood; a harmless number at places that don't count.
        counted: booleans that say which places count, `[N, ...]`; None if all
            do.
        weights: the weights of the places, `[N, ...]`; None if all weigh the
            same.
    """

    y: Array
    counted: Array | None
    weights: Array | None


def aligned(
    y: Any,
    sample_weight: Any,
    mask: Array | None,
    likelihood: Likelihood,
    outputs_shape: tuple[int, ...],
) -> Targets:
    """Aligns targets with the outputs, and checks their values.

    Args:
        y: the targets, one row for each row of the outputs.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`, or
            None.
        mask: booleans that say which places count, `[N, ...]`, or None.
        likelihood: the likelihood of the outputs.
        outputs_shape: the shape `(N, ..., P)` of the outputs at one draw.

    Raises:
        ValueError: if something doesn't fit, or a target that counts is out of
            the support, or if nothing counts.
    """
    forms.check_unmasked("`y`", y)
    y = np.asarray(y)
    data.check_numbers("`y`", y)
    rows, places = outputs_shape[0], outputs_shape[:-1]
    if y.ndim == 0 or len(y) != rows:
        raise ValueError(
            f"`y` must have one row for each of the {rows} predicted "
            f"rows. Received: y of shape {y.shape}"
        )
    outputs = tf.zeros(outputs_shape, tf.float64)
    weights = weights_of(sample_weight, places)
    counted = [mask, None if weights is None else weights > 0]
    ignored = likelihood.ignored(y, outputs)
    if ignored is not None:
        counted.append(over_places(~ignored, places))
    kept = _all_of(counted, places)
    if kept is not None and y.ndim - len(places) in (0, 1):
        y = np.where(over_targets(kept, y), y, 0).astype(y.dtype)
    valid = likelihood.supports(y, outputs)
    if not np.all(valid):
        words = likelihood.support(outputs_shape[-1]).words
        raise ValueError(
            f"`y` must hold {words}. Received: {y[~valid][:5]} among them"
        )
    return Targets(
        likelihood.align(tf.constant(y), outputs).numpy(), kept, weights
    )


def weights_of(sample_weight: Any, places: tuple[int, ...]) -> Array | None:
    """Broadcasts weights to the places, in float64; None if there are none.

    Raises:
        ValueError: if they fit neither rows nor places, or are negative or NaN.
    """
    if sample_weight is None:
        return None
    forms.check_unmasked("`sample_weight`", sample_weight)
    given = np.asarray(sample_weight)
    data.check_numbers("`sample_weight`", given)
    weights = over_places(given.astype(np.float64), places)
    if weights is None:
        raise ValueError(
            "`sample_weight` must be one weight for each row, or for each "
            f"place of the outputs, {places}. Received: weights of shape "
            f"{given.shape}"
        )
    if not np.all((weights >= 0) & np.isfinite(weights)):
        raise ValueError(
            "`sample_weight` must be finite and 0 or more. Received: weights "
            f"from {np.min(weights)} to {np.max(weights)}"
        )
    return np.broadcast_to(weights, places)


def mask_of_places(mask: Any, places: tuple[int, ...]) -> Array | None:
    """Broadcasts a mask of rows or places to the places.

    The result is None if the mask leaves nothing out, or if it has other steps
    than the outputs, because a layer has joined the steps that were masked.
    """
    if mask is None:
        return None
    mask = over_places(np.asarray(mask, bool), places)
    if mask is None or np.all(mask):
        return None
    return np.broadcast_to(mask, places)


def _all_of(
    conditions: list[Array | None], places: tuple[int, ...]
) -> Array | None:
    """Finds where all conditions hold that are given; None if everywhere."""
    kept: Array = np.ones(places, bool)
    for condition in conditions:
        if condition is not None:
            kept &= condition
    if not kept.any() and kept.size:
        raise ValueError(
            "`y` must have a place that counts. Received: targets of which all "
            "are masked, ignored or of weight 0"
        )
    return None if kept.all() else kept
