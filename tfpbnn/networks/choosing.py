"""Finds which layers of a model a user means."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from tfpbnn.networks import reading


def choose(
    model: keras.Model,
    layers: Any,
    vectors: bool,
    is_taken: Callable[[keras.layers.Layer], bool],
) -> list[keras.layers.Layer]:
    """Finds the layers that "all", "last", names, classes or a function choose.

    Args:
        model: a built model.
        layers: the argument that the user gave.
        vectors: whether weights of rank 1 get a distribution too, so that
            layers which have no others can be chosen.
        is_taken: a function that says whether a layer has a distribution
            already.

    Raises:
        ValueError: if a name is not known (the message lists those that are), a
            named layer can't be chosen, or nothing is chosen.
        TypeError: if `layers` has another type.
    """
    least = 1 if vectors else 2
    every = list(reading.leaves(model))
    taken = [x for x in every if is_taken(x)]
    leaves = [x for x in every if _rank(x) >= least and x not in taken]
    kernels = [x for x in leaves if _rank(x) >= 2]
    if isinstance(layers, str) and layers == "all":
        chosen = [x for x in kernels if x.trainable]
    elif isinstance(layers, str) and layers == "last":
        chosen = _last(model, kernels)
    else:
        items = layers if isinstance(layers, list | tuple | set) else [layers]
        found = [
            x for item in items for x in _matches(model, leaves, taken, item)
        ]
        chosen = list({id(x): x for x in found}.values())
    if not chosen:
        raise ValueError(
            f"`layers` chose no layer. Received: layers={layers!r}, for a "
            f"model with {[x.name for x in kernels]} to choose from"
            + _notes(kernels, taken)
        )
    return chosen


def _rank(layer: keras.layers.Layer) -> int:
    """Finds the highest rank of a layer's weights."""
    return max([len(v.shape) for v in layer.weights], default=0)


def _notes(
    kernels: list[keras.layers.Layer], taken: list[keras.layers.Layer]
) -> str:
    """Says why layers that a user may think of are not among the chosen."""
    frozen = [x.name for x in kernels if not x.trainable]
    done = [x.name for x in taken]
    notes = f". {frozen} are frozen: name them to have them" if frozen else ""
    return notes + (f". {done} are variational already" if done else "")


def _last(
    model: keras.Model, kernels: list[keras.layers.Layer]
) -> list[keras.layers.Layer]:
    if len(model.outputs) > 1:
        raise ValueError(
            '`layers="last"` needs a model with one output. Received: '
            f"{len(model.outputs)} outputs. Name the layers: the model has "
            f"{[x.name for x in kernels]}"
        )
    return kernels[-1:]


def _matches(
    model: keras.Model,
    leaves: list[keras.layers.Layer],
    taken: list[keras.layers.Layer],
    item: Any,
) -> Iterable[keras.layers.Layer]:
    if isinstance(item, str):
        return _named(model, leaves, taken, item)
    if isinstance(item, keras.layers.Layer):
        return _inside(item, leaves, taken)
    if isinstance(item, type):
        return [x for x in leaves if isinstance(x, item)]
    if callable(item):
        return [x for x in leaves if item(x)]
    raise TypeError(
        '`layers` must be "all", "last", a name, a class of layers, a layer, '
        "a function of a layer that says whether it is chosen, or a list of "
        f"these. Received: {item!r} of type {type(item).__name__}"
    )


def _named(
    model: keras.Model,
    leaves: list[keras.layers.Layer],
    taken: list[keras.layers.Layer],
    name: str,
) -> list[keras.layers.Layer]:
    named = [x for x in _walk(model) if x.name == name]
    if not named:
        raise ValueError(
            f"`layers` must name layers of the model. Received: {name!r}; the "
            f"model has {[x.name for x in leaves]}"
        )
    return [x for layer in named for x in _inside(layer, leaves, taken)]


def _walk(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if reading.can_read(layer):
            yield from _walk(layer)


def _inside(
    layer: keras.layers.Layer,
    leaves: list[keras.layers.Layer],
    taken: list[keras.layers.Layer],
) -> list[keras.layers.Layer]:
    """Returns the layer itself, or the layers in a model that can be chosen."""
    if reading.can_read(layer):
        inner = {id(x) for x in reading.leaves(layer)}
    else:
        inner = {id(layer)}
        if not any(x is layer for x in leaves):
            raise ValueError(
                f"The layer {layer.name!r} can't be chosen: "
                f"{_why_not(layer, taken)}"
            )
    return [x for x in leaves if id(x) in inner]


def _why_not(layer: keras.layers.Layer, taken: list[keras.layers.Layer]) -> str:
    if any(x is layer for x in taken):
        return "it is variational already."
    if not layer.weights:
        return "it has no weights."
    if _rank(layer) < 2:
        return "it has vectors only: give `bias_posterior` for those."
    return "it is not in the model."
