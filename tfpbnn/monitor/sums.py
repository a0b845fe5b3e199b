"""Sums over rows, which are all that status needs, however many rows.

They are a vector of parts with names, which is added up. To add one: its size
in `layout`, what it sums in `of_predictions` or `of_labels`, and what it says
in `status`; and a new version of the tables.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.monitor import records
from tfpbnn.monitor.records import Scored
from tfpbnn.monitor.reference import NUM_BINS
from tfpbnn.monitor.setup import INPUT, UNCERTAINTIES, Setup

# Those of `tfpbnn.evaluate`.
LEVELS = np.linspace(0.05, 0.95, 19)
NUM_CONFIDENCES = 15
EVENTS = (
    "duplicate",  # predictions that were logged before
    "conflict",  # those of them that differ from the first
    "repeated",  # labels that were known
    "changed",  # labels that were known, and differ
    "unknown",  # labels of ids that no prediction had by then
    "matched",  # those of them that got their prediction later
    "ignored",  # labels that the loss ignores
    "unfit",  # labels without a prediction, that did not fit it when it came
    "lost",  # predictions that could not be written
    "lost_labels",
    "backwards",  # writes at an earlier time than the last
)


def layout(setup: Setup) -> dict[str, int]:
    """Lists the parts and their sizes."""
    features = len(setup.features)
    return {
        "rows": 1,
        "nan": 1,
        "epistemic": 2,
        "aleatoric": 2,
        "epistemic_bins": NUM_BINS,
        "aleatoric_bins": NUM_BINS,
        "input_nan": features,
        "input_outside": features,
        "labels": 1,
        "nll": 2,
        "delay": 1,
        "loss": 2,
        "covered": 1,
        "below": len(LEVELS),
        "confidence": 3 * NUM_CONFIDENCES,
        **dict.fromkeys(EVENTS, 1),
    }


def pack(setup: Setup, parts: Mapping[str, Any]) -> Array:
    """Joins parts to a vector; those that are missing are 0."""
    return np.concatenate(
        [
            np.broadcast_to(np.asarray(parts.get(name, 0.0), float), [size])
            for name, size in layout(setup).items()
        ]
    )


def unpack(setup: Setup, vector: Array) -> dict[str, Array]:
    """Takes the parts out of a vector."""
    sizes = layout(setup)
    ends = np.cumsum(list(sizes.values()))
    parts = np.split(vector, ends[:-1])
    return dict(zip(sizes, parts, strict=True))


def of_predictions(
    setup: Setup, values: Mapping[str, Array], is_finite: Array
) -> dict[str, Any]:
    """Sums over predictions.

    Args:
        setup: of the monitor.
        values: uncertainties and inputs of rows, `[n]`, by the names of
            variables; NaN where a row is no number.
        is_finite: which rows have numbers only, `[n]`.
    """
    found: dict[str, Any] = {
        "rows": len(is_finite),
        "nan": np.sum(~is_finite),
    }
    for name in UNCERTAINTIES:
        column = values[name][is_finite]
        found[name] = [column.sum(), np.square(column).sum()]
        if name in setup.variables:
            found[f"{name}_bins"] = setup.variables[name].bins(column)
    names = [f"{INPUT}{name}" for name in setup.features]
    if names and names[0] in values:
        found["input_nan"] = [np.sum(~np.isfinite(values[n])) for n in names]
        found["input_outside"] = [
            np.sum(setup.variables[n].is_outside(values[n])) for n in names
        ]
    return found


def of_labels(is_labels: bool, scored: Scored, delay: Array) -> dict[str, Any]:
    """Sums over labels.

    Args:
        is_labels: whether labels are predicted, rather than numbers.
        scored: their scores.
        delay: how long they took, in seconds, `[n]`.
    """
    nll = scored.nll[~np.isnan(scored.nll)]
    found: dict[str, Any] = {
        "labels": len(delay),
        "nll": [nll.sum(), len(nll)],
        "delay": delay.sum(),
        "loss": [scored.loss.sum(), scored.loss.size],
    }
    if not is_labels:
        found["covered"] = records.covered(scored).sum()
        found["below"] = records.shares_of_levels(scored, LEVELS)
        return found
    confidence, right = np.ravel(scored.low), np.ravel(scored.high)
    bins = np.floor(confidence * NUM_CONFIDENCES).astype(int)
    bins = np.clip(bins, 0, NUM_CONFIDENCES - 1)
    found["confidence"] = np.ravel(
        [
            np.bincount(bins, weights, NUM_CONFIDENCES)
            for weights in (np.ones(len(bins)), confidence, right)
        ]
    )
    return found


def scores(is_labels: bool, sums: Mapping[str, Array]) -> dict[str, float]:
    """Computes the scores of `tfpbnn.evaluate` from sums.

    Returns:
        By name, those that can be known; none without labels.
    """
    (nll, num_rows), (loss, size) = sums["nll"], sums["loss"]
    if not size:
        return {}
    found = {"nll": nll / num_rows} if num_rows else {}
    if not is_labels:
        return found | {
            "rmse": float(np.sqrt(loss / size)),
            "coverage_90": float(sums["covered"][0] / size),
            "calibration_error": float(
                np.mean(np.abs(sums["below"] / size - LEVELS))
            ),
        }
    _, confidence, right = sums["confidence"].reshape(3, -1)
    return found | {
        "accuracy": float(right.sum() / size),
        "brier": loss / size,
        "ece": float(np.abs(confidence - right).sum() / size),
        "confidence": float(confidence.sum() / size),
    }


def uncertainties(parts: Mapping[str, Array]) -> dict[str, float]:
    """Computes mean uncertainties from sums; none without predictions."""
    rows = parts["rows"][0] - parts["nan"][0]
    if not rows:
        return {}
    return {name: float(parts[name][0] / rows) for name in UNCERTAINTIES}


def with_scores(setup: Setup, scored: Scored) -> Setup:
    """Adds the scores of a reference to its setup."""
    assert setup.model is not None
    is_labels = setup.model.is_labels
    parts = of_labels(is_labels, scored, np.zeros(len(scored.nll)))
    found = scores(is_labels, unpack(setup, pack(setup, parts)))
    return dataclasses.replace(setup, scores=found)
