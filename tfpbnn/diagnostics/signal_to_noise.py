"""Compares the size of weights with their noise."""

import keras
import numpy as np

from tfpbnn.base.by_output import each_once
from tfpbnn.base.keras_private import held_layers
from tfpbnn.base.types import Array
from tfpbnn.families import Family
from tfpbnn.layers.kl_parts import weight_name


def signal_to_noise(model: keras.Model) -> dict[str, Array]:
    """Computes `|loc| / scale` of each random weight of a model.

    Args:
        model: a built Keras model with variational layers.

    Returns:
        Arrays of the weights' shapes by name, such as "dense_flipout/kernel",
        in the order of the layers.

    Raises:
        ValueError: if the model has no random weights or has some that are
            NaN; if a posterior has no elementwise variance.

    Example:
    ```python
    figure = tfpbnn.plots.weight_snr(tfpbnn.signal_to_noise(model))
    ```
    """
    posteriors = _posteriors(model)
    # Models within models may use a name again.
    names = each_once(weight_name(model, q.loc) for q in posteriors)
    ratios = dict(zip(names, map(_ratio, posteriors, names), strict=True))
    if not ratios:
        raise ValueError(
            "`model` must have weights with a posterior: none of its layers "
            "is variational, or it was not built. Call it on some data first, "
            "or add layers such as tfpbnn.layers.DenseFlipout."
        )
    return ratios


def _ratio(posterior: Family, name: str) -> Array:
    try:
        variance = keras.ops.convert_to_numpy(posterior.variance())
    except NotImplementedError as error:
        raise ValueError(
            f"The weights `{name}` have no signal-to-noise ratio: {error}"
        ) from error
    signal = np.abs(keras.ops.convert_to_numpy(posterior.loc))
    if np.isnan(signal).any() or np.isnan(variance).any():
        raise ValueError(f"The posterior of `{name}` has NaN: training failed.")
    # A scale may be too small to square; a loc of 0 is no signal all the same.
    noise = np.maximum(np.sqrt(variance), np.finfo(variance.dtype).tiny)
    return signal / noise


def _posteriors(model: keras.Model) -> list[Family]:
    """Lists the posteriors that are random, in the order of the weights."""
    found = [
        part
        for part in held_layers(model)
        if isinstance(part, Family)
        and part.is_random
        and part.built
        # Priors may hold frozen ones.
        and not part.is_frozen
    ]
    place = {id(weight): i for i, weight in enumerate(model.weights)}
    return sorted(found, key=lambda posterior: place[id(posterior.loc)])
