"""Says which weights of a network have a distribution."""

from typing import Any

import keras

from tfpbnn.densities.choosing import matches
from tfpbnn.networks import reading
from tfpbnn.networks.kernels import has_kernel
from tfpbnn.particles.effects import is_random
from tfpbnn.posteriors.batch_norm import batch_norms


def chosen(network: keras.Model, subset: Any) -> list[keras.Variable]:
    """Finds the weights of a subset, in the order of the network's.

    Args:
        network: a built network.
        subset: "last_layer", "all", a name or pattern of paths, a list of
            these, or a function of a variable.

    Raises:
        TypeError: if `subset` is none of these.
        ValueError: if it matches no weight that trains, or weights of half
            precision.
    """
    known = [
        v
        for v in network.trainable_variables
        if keras.backend.is_float_dtype(v.dtype)
    ]
    found = _matching(network, known, subset)
    if not found:
        raise ValueError(
            "`subset` must match trainable weights. Received: "
            f"subset={subset!r}, of a model with {[v.path for v in known]}"
            + _frozen(network, known)
        )
    types = {v.dtype for v in found}
    if len(types) > 1 or not types <= {"float32", "float64"}:
        raise ValueError(
            "`subset` must be of weights of one type, float32 or float64. "
            f"Received: {sorted(types)}. Make the model under another dtype "
            "policy, such as 'mixed_float16'"
        )
    return found


def _matching(
    network: keras.Model, known: list[keras.Variable], subset: Any
) -> list[keras.Variable]:
    if callable(subset):
        return [v for v in known if subset(v)]
    items = [subset] if isinstance(subset, str) else subset
    if not isinstance(items, list | tuple | set) or not all(
        isinstance(item, str) for item in items
    ):
        raise TypeError(
            "`subset` must be 'last_layer', 'all', a name of a layer or a "
            "pattern of paths, a list of these, or a function of a variable. "
            f"Received: subset={subset!r} of type {type(subset).__name__}"
        )
    if subset == "all":
        return known
    if subset == "last_layer":
        return _last(network, known)
    unknown = [
        item for item in items if not any(matches(item, v.path) for v in known)
    ]
    if unknown:
        raise ValueError(
            f"`subset` must match trainable weights. Received: {unknown}, "
            f"which match none of {[v.path for v in known]}"
            + _frozen(network, known)
        )
    return [v for v in known if any(matches(item, v.path) for item in items)]


def _last(
    network: keras.Model, known: list[keras.Variable]
) -> list[keras.Variable]:
    """The trainable weights of the last layer with a kernel."""
    ids = {id(v) for v in known}
    outputs = getattr(network, "outputs", None) or [None]
    if len(outputs) > 1:
        raise ValueError(
            "`subset` must name layers of a model with several outputs, which "
            f"has no last one. Received: subset='last_layer'; the model has "
            f"{[v.path for v in known]}"
        )
    layers = (
        reading.leaves(network)
        if reading.can_read(network)
        else reading.layers_of(network)
    )
    kernels = [layer for layer in layers if has_kernel(layer)]
    own = kernels[-1].trainable_variables if kernels else []
    return [v for v in own if id(v) in ids]


def _frozen(network: keras.Model, known: list[keras.Variable]) -> str:
    ids = {id(v) for v in known}
    frozen = [
        v.path
        for v in network.weights
        if id(v) not in ids and not reading.is_noise(v)
    ]
    return f". {frozen} don't train: unfreeze them first" if frozen else ""


def check_layers(network: keras.Model, variables: list[keras.Variable]) -> None:
    """Raises if layers have outputs that depend on more than the weights.

    Raises:
        ValueError: with the layer's name and what to do.
    """
    layers = reading.layers_of(network)
    for layer in layers:
        if is_random(layer):
            raise ValueError(
                "`model` must not have layers that are random: they have a "
                f"posterior already. Received: {layer.name!r} "
                f"({type(layer).__name__}). Take the plain network, such as "
                "tfpbnn.to_deterministic(model)"
            )
    norms = {id(layer) for layer in batch_norms(network)}
    ids = {id(v) for v in variables}
    is_before = False
    for layer in layers:
        is_before |= any(id(v) in ids for v in layer.variables)
        if id(layer) in norms and is_before:
            raise ValueError(
                "`subset` must leave out what comes before BatchNormalization "
                "that trains: its statistics are of the trained weights, and "
                "would be others for other weights. Received: a subset with "
                f"weights before or in {layer.name!r}. Use "
                "subset='last_layer', or freeze it (`layer.trainable = False`)"
            )
