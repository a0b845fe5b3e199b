"""Reads predictions, or arrays of draws, for acquisitions."""

from typing import Any

import numpy as np

from tfpbnn.base import data
from tfpbnn.base.places import over_targets
from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Categorical
from tfpbnn.metrics.labels import check_probabilities
from tfpbnn.prediction.results import ClassificationPredictive, Predictive


def draws(values: Any) -> Array:
    """Reads an array of draws, `[S, N, ...]`, in float64.

    Raises:
        TypeError: if it holds no numbers.
        ValueError: if it has fewer axes, or NaN.
    """
    found = np.asarray(values)
    data.check_numbers("`predictive`", found)
    found = found.astype(np.float64)
    if found.ndim < 2 or 0 in found.shape:
        raise ValueError(
            "`predictive` must be a prediction, or an array of draws with the "
            "axes draws and rows. Received: an array of shape "
            f"{found.shape}"
        )
    data.check_finite("predictive", found)
    return found


def labels(predictive: Any) -> Predictive:
    """Returns a prediction of labels, made of probabilities if need be.

    Args:
        predictive: a prediction of labels, or the probabilities of classes at
            each draw, `[S, N, K]`.

    Raises:
        TypeError: if it is a prediction of numbers.
        ValueError: if an array has other axes, or no probabilities.
    """
    if isinstance(predictive, Predictive):
        if not predictive.likelihood.is_classification:
            raise TypeError(
                "`predictive` must be of labels for this acquisition. "
                "Received: a prediction of numbers, for which "
                '"epistemic_variance", "bald" and "entropy" are'
            )
        return predictive
    p = draws(predictive)
    if p.ndim < 3 or p.shape[-1] < 2:
        raise ValueError(
            "`predictive` must be a prediction, or probabilities of 2 or more "
            "classes at each draw, `[S, N, K]`. Received: an array of shape "
            f"{p.shape}"
        )
    check_probabilities("predictive", p)
    return ClassificationPredictive(p, Categorical(from_logits=False))


def class_draws(predictive: Any) -> Array:
    """Returns the probabilities of one label a row at each draw, `[S, N, K]`.

    Raises:
        ValueError: if rows have several labels, or draws are no functions.
    """
    found = labels(predictive)
    _check_joint(found)
    p = found.draw_means
    if not isinstance(found.likelihood, Categorical) and p.shape[-1] == 1:
        p = np.concatenate([1 - p, p], axis=-1)
    elif not isinstance(found.likelihood, Categorical):
        p = p[np.newaxis]  # several labels
    if p.ndim != 3 or found.mask is not None:
        raise ValueError(
            "`predictive` must have one label for each row, without a mask, "
            f"where rows are asked for together. Received: {found.likelihood} "
            f"of outputs {found.outputs_shape}. Take a score of each row, such "
            'as acquisition="bald" with selector="power"'
        )
    return p


def counted(predictive: Any, rows: int) -> Array:
    """Says which of N rows have a place that counts, `[N]`."""
    mask = getattr(predictive, "mask", None)
    if mask is None:
        return np.ones(rows, bool)
    return np.any(np.reshape(mask, (rows, -1)), axis=1)


def number_draws(predictive: Any) -> Array:
    """Returns the expected target of each row at each draw, `[S, N]`.

    It is NaN for rows that the mask leaves out.

    Args:
        predictive: a prediction of one number for each row, or the values of
            functions, `[S, N]` or `[S, N, 1]`.

    Raises:
        TypeError: if it is a prediction of labels.
        ValueError: if rows have several targets or places.
    """
    if isinstance(predictive, Predictive):
        _check_numbers(predictive)
        _check_joint(predictive)
        values = predictive.draw_means
    else:
        values = draws(predictive)
    found = _one_target(values, values.ndim - 2)
    return np.where(counted(predictive, found.shape[1]), found, np.nan)


def moments(predictive: Any) -> tuple[Array, Array]:
    """Returns mean and epistemic variance of each row's number, `[N]` each.

    They are NaN for rows that the mask leaves out.
    """
    if not isinstance(predictive, Predictive):
        values = number_draws(predictive)
        return np.mean(values, axis=0), np.var(values, axis=0)
    _check_numbers(predictive)
    pair = predictive.mean, predictive.epistemic_variance
    mean, variance = (_one_target(part, part.ndim - 1) for part in pair)
    counts = counted(predictive, len(mean))
    return np.where(counts, mean, np.nan), np.where(counts, variance, np.nan)


def by_row(predictive: Predictive, values: Array) -> Array:
    """Reduces values of places or targets to one for each row, `[N]`.

    Targets of a place are summed; places that count are averaged. It is NaN
    for rows in which none counts.
    """
    places = predictive.outputs_shape[:-1]
    if values.ndim > len(places):
        values = np.sum(values, axis=-1)
    if predictive.mask is not None:
        mask = over_targets(predictive.mask, values)
        values = np.where(mask, values, np.nan)
    values = values.reshape(len(values), -1)
    counts = np.sum(~np.isnan(values), axis=-1)
    sums = np.nansum(values, axis=-1)
    return np.where(counts, sums / np.maximum(counts, 1), np.nan)


def _one_target(values: Array, extra: int) -> Array:
    if extra == 1 and values.shape[-1] == 1:
        return values[..., 0]
    if extra:
        raise ValueError(
            "`predictive` must have one number for each row, which is to be "
            f"large or small. Received: the shape {values.shape}. Make one of "
            "several, such as `np.mean(p.draw_means, axis=-1)`"
        )
    return values


def _check_numbers(predictive: Predictive) -> None:
    if predictive.likelihood.is_classification:
        raise TypeError(
            "`predictive` must be of numbers for this acquisition. Received: a "
            f"prediction of labels, with the likelihood "
            f"{predictive.likelihood!r}"
        )


def _check_joint(predictive: Predictive) -> None:
    """Raises unless each draw is one function of all rows."""
    if predictive.draws not in ("coherent", "mean"):
        raise ValueError(
            '`predictive` must be made with draws="coherent" where rows are '
            "judged together, so that a draw is one function of all rows. "
            f"Received: draws={predictive.draws!r}"
        )
