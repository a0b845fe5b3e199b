"""A variational model as a plain network with priors, and where it begins."""

from typing import Any, NamedTuple

import keras
import numpy as np

from tfpbnn import priors
from tfpbnn.base.types import Array
from tfpbnn.convert import counterparts
from tfpbnn.families import Family
from tfpbnn.networks import copying, reading, rewriting


class Known(NamedTuple):
    """What a variational layer knows of a weight.

    Attributes:
        prior: its prior; None if it has none.
        loc: the mean of its posterior.
        stddev: the standard deviations; 0 if it is a point.
        posterior: its posterior; None if it is a variable of Keras's.
    """

    prior: priors.Prior | None
    loc: Array
    stddev: Array
    posterior: Family | None = None


def plain(model: Any) -> tuple[Any, dict[int, Known]]:
    """A plain network, and what is known of its variables, by their ids.

    Args:
        model: a built model with variational layers, which is not changed.

    Raises:
        TypeError: if `model` is subclassed.
        ValueError: if one of its layers has no plain counterpart.
    """
    reading.check_readable(model)
    network, pairs = rewriting.replace(
        model,
        reading.plain_class(model),
        _is_variational,
        _plain_layer,
        copying.Copier(),
    )
    known = {}
    for old, new in pairs:
        counterpart: Any = counterparts.of_variational(old)
        found = counterpart.distributions(old)
        locs = counterpart.locs(old)
        for name, variable in counterpart.variables(new).items():
            variable.assign(locs[name])
            posterior, prior = found.get(name, (None, None))
            known[id(variable)] = _known(variable, posterior, prior)
    return network, known


def _is_variational(layer: Any) -> bool:
    return counterparts.of_variational(layer) is not None


def _plain_layer(layer: Any) -> keras.layers.Layer:
    counterpart: Any = counterparts.of_variational(layer)
    config = copying.arguments(layer.get_config(), counterpart.plain)
    return counterpart.plain.from_config(config)


def _known(variable: Any, posterior: Family | None, prior: Any) -> Known:
    loc = np.asarray(variable)
    if posterior is None or not posterior.is_random:
        return Known(prior, loc, np.zeros_like(loc), posterior)
    _, variance = posterior.loc_and_variance()
    stddev = np.broadcast_to(np.sqrt(variance), loc.shape)
    return Known(prior, loc, stddev, posterior)
