"""Keeps what was compiled for a model, from one fit to the next.

A prior that is learned, or a comparison of structures, fits the same model many
times, and to trace its slopes takes about as long as an epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data
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
    layers, variables, their attributes (as by `adapt`, or in place, in lists,
    dicts and arrays), or the likelihoods. What objects of other classes hold is
    not looked at.

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
    """Describes the attributes of an object, by their contents if plain."""
    if part is None:
        return None
    found: dict[str, Any] = {}
    common = states.common_names()
    for name, value in settings_of(part).items():
        if name not in common and states.is_plain(value):
            found[name] = _contents(value)
        elif isinstance(value, _PLAIN):
            found[name] = repr(value)
        elif not isinstance(part, keras.Model):  # which keeps its trainings
            found[name] = id(value)
            held.append(value)
    own = None if isinstance(part, keras.losses.Loss) else id(part)
    return type(part).__name__, own, sorted(found.items())


def _contents(value: Any) -> Any:
    """Describes what may be changed in place, by all that is in it."""
    if isinstance(value, Mapping):
        return [(repr(key), _contents(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [_contents(one) for one in value]
    if isinstance(value, np.ndarray | tf.Tensor):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return repr(array.tolist())
        return data.digest([array])
    return repr(value)
