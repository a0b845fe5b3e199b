"""Keeps what was compiled for a model, from one fit to the next.

A prior that is learned, or a comparison of structures, fits the same model many
times, and to trace its slopes takes about as long as an epoch.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.kept import kept_with
from tfpbnn.base.keras_private import settings_of
from tfpbnn.networks import states
from tfpbnn.particles.functions import TRACING

_PLAIN = (bool, float, int, str, tuple)


def functions_of(
    model: keras.Model, likelihoods: Sequence[Any], key: Any
) -> dict[Any, Any]:
    """Finds the dict of what was compiled for a model, empty if nothing was.

    It begins anew if anything that a graph has as a constant may have changed:
    layers, variables, their attributes (as by `adapt`), or the likelihoods.

    Args:
        model: a built model, which is not kept alive.
        likelihoods: of its outputs, or None.
        key: what else the functions depend on.
    """
    held: list[Any] = []  # Their ids are not to be used again.
    parts = states.parts(model)
    found = [
        *(id(v) for v in model.weights),
        *(_state(part, held) for part in parts),
        *(_state(likelihood, held) for likelihood in likelihoods),
    ]
    state = repr(found)
    with TRACING:
        known = kept_with(model, "laplace")
        if known.get("state") != state:
            known.clear()
            known.update(state=state, held=held)
        functions: dict[Any, Any] = known.setdefault(repr(key), {})
        return functions


def _state(part: Any, held: list[Any]) -> Any:
    """Describes the attributes of an object."""
    if part is None:
        return None
    found: dict[str, Any] = {}
    for name, value in settings_of(part).items():
        if isinstance(value, _PLAIN):
            found[name] = repr(value)
        elif not isinstance(part, keras.Model):  # which keeps its trainings
            found[name] = id(value)
            if isinstance(value, tf.Tensor | np.ndarray):
                held.append(value)
    own = None if isinstance(part, keras.losses.Loss) else id(part)
    return type(part).__name__, own, sorted(found.items())
