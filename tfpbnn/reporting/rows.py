"""Lists the rows of which a prediction is least sure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfpbnn import metrics
from tfpbnn.base.types import Array
from tfpbnn.reporting.section import Section

_COUNT = 10
_MOST_FEATURES = 8


def most_uncertain(
    section: Section, x: Any, feature_names: Sequence[str] | None
) -> list[dict[str, str]]:
    """Describes the rows of highest uncertainty, the worst first.

    Args:
        section: the output.
        x: the inputs; their columns are shown if they are a table.
        feature_names: the names of these columns, or None.

    Returns:
        A dict for each row: "row", what was predicted, the targets and inputs,
        as texts by name.
    """
    p = section.predictive
    score = np.reshape(metrics.uncertainty(p), [len(p), -1])
    # Of rows with several places or targets, the mean of those that count.
    counts = np.sum(~np.isnan(score), axis=1)
    mean = np.nansum(score, axis=1) / np.maximum(counts, 1)
    order = np.argsort(-mean, kind="stable")
    order = order[counts[order] > 0][:_COUNT]
    columns = {
        "row": order,
        **_predicted(section, order),
        **_features(x, order, feature_names),
    }
    return [
        {name: _text(values[i]) for name, values in columns.items()}
        for i in range(len(order))
    ]


def _predicted(section: Section, order: Array) -> dict[str, Any]:
    """Takes what was predicted of rows, if each has one place."""
    p = section.predictive
    if p.place != "row":
        return {}
    some = p[order]
    columns: dict[str, Any] = dict(some.to_dict())
    y = np.asarray(section.y)
    if len(y) == len(p) and y[:1].size == 1:
        columns["target"] = y[order].ravel()
    if section.class_names is not None:
        for name in {"label", "target"} & columns.keys():
            columns[name] = [
                section.class_names[int(label)] for label in columns[name]
            ]
    return columns


def _features(
    x: Any, order: Array, names: Sequence[str] | None
) -> dict[str, Any]:
    """Takes the columns of inputs that are a table of few."""
    if x is None:
        return {}
    if hasattr(x, "columns"):
        x = {str(name): np.asarray(x[name]) for name in x.columns}
    elif isinstance(x, Mapping):
        x = {
            str(name): np.asarray(values)
            for name, values in x.items()
            if np.ndim(values) == 1
        }
    elif np.ndim(x) == 2:
        x = np.asarray(x)
        if names is None:
            names = [f"x{i}" for i in range(x.shape[1])]
        x = dict(zip(names, x.T, strict=False))
    else:
        return {}
    shown = list(x.items())[:_MOST_FEATURES]
    return {name: values[order] for name, values in shown}


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)
