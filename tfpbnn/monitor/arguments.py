"""Reads what users give a monitor."""

import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.monitor import features, records, sums
from tfpbnn.monitor.setup import Model, Options, Setup, variables_of

_Id = str | int | np.integer | uuid.UUID


def options(
    alpha: Any, control: Any, tolerance: Any, keep_draws: Any
) -> dict[str, Any]:
    """Checks the options that were given, and leaves out the others."""
    if tolerance is not None and not 0 <= tolerance <= 0.4:
        raise ValueError(
            "`tolerance` must be a share from 0 to 0.4. Received: "
            f"tolerance={tolerance!r}"
        )
    if control is not None:
        checks.one_of("control", control, ["ever", "run"])
    found = {
        "alpha": checks.open_fraction.optional("alpha", alpha),
        "control": control,
        "tolerance": None if tolerance is None else float(tolerance),
        "keep_draws": None if keep_draws is None else bool(keep_draws),
    }
    return {name: value for name, value in found.items() if value is not None}


def setup(chosen: Options, reference: Any, y: Any, inputs: Any) -> Setup:
    """Makes what a monitor is made with.

    Args:
        chosen: its options.
        reference: a `Predictive`, or None.
        y: its labels, or None.
        inputs: its inputs, or None.

    Raises:
        ValueError: if they don't fit each other.
    """
    columns = {} if inputs is None else features.columns(inputs)
    if reference is None:
        if y is not None or inputs is not None:
            raise ValueError(
                "`reference` must be given with `reference_y` and "
                "`reference_inputs`. Received: reference=None"
            )
        return Setup(chosen, {})
    kept = records.kept(reference, chosen.keep_draws)
    if not kept.is_finite.any():
        raise ValueError(
            "`reference` must have rows of finite numbers, to which others are "
            f"compared. Received: {len(reference)} rows, and none of them is"
        )
    for name, column in columns.items():
        _check_rows("reference_inputs", name, column, len(reference))
    scored = None
    model = Model.of(kept)
    if y is not None:
        labels = records.as_labels(model.check(y))
        _check_rows("reference_y", "y", labels, len(reference))
        counts = kept.is_finite & ~records.is_ignored(
            kept.likelihood, labels, model.num_outputs
        )
        scored = records.score(
            kept.likelihood, kept.outputs[:, counts], labels[counts]
        )
    found = Setup(
        chosen,
        variables_of(kept, scored, columns),
        model,
        num_samples=reference.num_samples,
    )
    return found if scored is None else sums.with_scores(found, scored)


def check_draws(setup: Setup, num_samples: int) -> None:
    """Warns if a prediction has not as many draws as the reference."""
    if num_samples and setup.num_samples not in (0, num_samples):
        warnings.warn(
            f"`predictive` has {num_samples} draws, and the reference has "
            f"{setup.num_samples}: what differs by that may look like drift. "
            f"Predict with num_samples={setup.num_samples}",
            stacklevel=3,
        )


def _check_rows(argument: str, name: str, values: Array, rows: int) -> None:
    if len(values) != rows:
        raise ValueError(
            f"`{argument}` must have one row for each of the {rows} rows of "
            f"`reference`. Received: {name!r} with {len(values)}"
        )


def ids(given: Any, rows: int) -> list[str]:
    """Reads ids, one for each row.

    Raises:
        TypeError: if they are neither texts, integers nor UUIDs.
        ValueError: if there are more or fewer, or no database can keep one.
    """
    values = [given] if isinstance(given, _Id) else list(given)
    for kind in set(map(type, values)):
        if not issubclass(kind, _Id) or kind is bool:
            value = next(each for each in values if type(each) is kind)
            raise TypeError(
                "`ids` must be texts, integers or UUIDs. Received: "
                f"{value!r} ({kind.__name__})"
            )
    if len(values) != rows:
        raise ValueError(
            f"`ids` must have one id for each of the {rows} rows. Received: "
            f"{len(values)}"
        )
    names = list(map(str, values))
    joined = "".join(names)
    if not _can_be_kept(joined):
        bad = next(each for each in names if not _can_be_kept(each))
        raise ValueError(
            "`ids` must be texts in UTF-8, without the character 0. Received: "
            f"{bad!r}"
        )
    return names


def _can_be_kept(text: str) -> bool:
    # Half of a pair of surrogates has no UTF-8.
    return "\0" not in text and text.encode(errors="ignore").decode() == text


def rounds(names: list[str]) -> Iterator[list[int]]:
    """Splits indices into rounds in which no name comes twice."""
    seen: dict[str, int] = {}
    found: dict[int, list[int]] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        found.setdefault(seen[name], []).append(i)
    yield from found.values()


def texts(meta: Any, rows: int) -> list[str | None]:
    """Writes what else is kept of rows as JSON, one text for each.

    Raises:
        TypeError: if it is no dict, or JSON can't keep it.
        ValueError: if a value has as many entries as there are no rows.
    """
    if meta is None:
        return [None] * rows
    if not isinstance(meta, Mapping):
        raise TypeError(
            "`meta` must be a dict of values by name. Received: "
            f"{type(meta).__name__}"
        )
    columns = {}
    for name, value in meta.items():
        is_one = isinstance(value, str | Mapping) or np.ndim(value) == 0
        each = [value] * rows if is_one else list(value)
        if len(each) != rows:
            raise ValueError(
                "`meta` must have one value for all rows, or one for each of "
                f"{rows}. Received: {len(each)} of {name!r}"
            )
        columns[str(name)] = each
    return [
        json.dumps(
            {name: each[i] for name, each in columns.items()}, default=_plain
        )
        for i in range(rows)
    ]


def _plain(value: Any) -> Any:
    """Makes NumPy's values ones that JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(
        "`meta` must hold numbers, texts, lists and dicts. Received: "
        f"{value!r} ({type(value).__name__})"
    )


def inputs(given: Any, known: list[str], rows: int) -> dict[str, Array]:
    """Reads the columns of inputs that the reference has too.

    Raises:
        ValueError: if one is missing, or has another number of rows.
    """
    if given is None:
        return {}
    found = features.columns(given)
    missing = [name for name in known if name not in found]
    if missing:
        raise ValueError(
            "`inputs` must have the columns of the reference's. Received: "
            f"{list(found)}, without {missing}"
        )
    for name in known:
        if len(found[name]) != rows:
            raise ValueError(
                f"`inputs` must have one row for each of the {rows} predicted "
                f"rows. Received: {name!r} with {len(found[name])}"
            )
    return {name: found[name] for name in known}
