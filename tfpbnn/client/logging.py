"""Hands predictions to a monitor, as they are served."""

import uuid
import warnings
from collections.abc import Mapping
from typing import Any


def log(monitor: Any, ids: Any, predictive: Any, x: Any) -> None:
    """Logs a prediction; a warning says why, if the monitor refuses it.

    Args:
        monitor: has a method `log(ids, predictive, inputs=)`; or, for several
            outputs, a dict of such by the outputs' names.
        ids: of the rows; None for new ones.
        predictive: a prediction, or a dict of them.
        x: the inputs.
    """
    try:
        pairs = _paired(monitor, predictive)
        if ids is None:
            ids = [uuid.uuid4().hex for _ in range(len(pairs[0][1]))]
        for one, part in pairs:
            one.log(ids, part, inputs=x)
    except Exception as error:
        warnings.warn(
            f"A prediction was served, and not logged: {error}", stacklevel=3
        )


def _paired(monitor: Any, predictive: Any) -> list[tuple[Any, Any]]:
    """Pairs monitors with their predictions."""
    several = isinstance(monitor, Mapping), isinstance(predictive, Mapping)
    if several == (False, False):
        return [(monitor, predictive)]
    if (
        several == (True, True)
        and monitor
        and monitor.keys() <= set(predictive)
    ):
        return [(one, predictive[name]) for name, one in monitor.items()]
    found = list(predictive) if several[1] else "one output"
    raise ValueError(
        "`monitor` must be one for a model of one output, or a dict of them by "
        f"the names of outputs. Received: {monitor!r}, for {found}"
    )
