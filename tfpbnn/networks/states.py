"""Reads, copies and saves layers' states beside weights, like vocabularies.

Keras saves them by methods of the layers, `save_own_variables` and
`save_assets`, which are used here too. Keras doesn't save arrays and numbers in
plain attributes of a user's layer; copies get them too.
"""

import copy
import functools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.networks import reading


def parts(layer: Any, without: Any = ()) -> list[Any]:
    """Lists a layer or model, and all layers that it holds.

    Args:
        layer: a layer or model.
        without: the class of layers (or a tuple of classes) that are left
            out, with what they hold.
    """
    found = [layer, *keras_private.held_layers(layer)]
    left = {
        id(inner)
        for part in found
        if isinstance(part, without)
        for inner in parts(part)
    }
    return [part for part in found if id(part) not in left]


def copy_own(layer: Any, copied: Any, without: Any = ()) -> None:
    """Copies to a copy what its layer has beside weights.

    This is what layers save by their own methods, what they compute when they
    load their weights, and a user's own attributes. The second is left out for
    layers that are not built yet.

    Args:
        layer: a layer or model.
        copied: a copy of it, or the layer itself, to compute things anew.
        without: as in `copy_variables`.
    """
    for part, new in _pairs(layer, copied, without):
        if _has_own(part, "load_own_variables") and part.built and new.built:
            store: dict[str, Any] = {}
            part.save_own_variables(store)
            new.load_own_variables(store)
        if part is new:
            continue
        if _has_own(part, "load_assets"):
            with tempfile.TemporaryDirectory() as path:
                part.save_assets(path)
                new.load_assets(path)
        for name, value in _constants(part).items():
            if not _is_same(value, vars(new).get(name)):
                setattr(new, name, copy.deepcopy(value))


def copy_variables(layer: Any, new: Any, without: Any = ()) -> None:
    """Copies weights layer by layer, as each layer saves and loads them.

    Args:
        layer: a layer or model.
        new: a copy of it.
        without: the class of layers (or a tuple of classes) of which the copy
            has others: they and what they hold are left out.

    Raises:
        ValueError: if the copy has other layers, or these have other weights.
    """
    pairs = list(_pairs(layer, new, without))
    if not pairs:
        raise ValueError(
            f"The layers in the copy of {layer.name!r} must be like its own. "
            f"Received: {parts(new)}, for {parts(layer)}"
        )
    for part, other in pairs:
        store: dict[str, Any] = {}
        part.save_own_variables(store)
        other.load_own_variables(store)


def order(layer: Any, new: Any) -> list[int]:
    """Finds where the weights of a copy are in the list of the layer's.

    The places are the same but for layers that were quantized after they were
    built, whose copies make their weights in another order.

    Args:
        layer: a built layer or model.
        new: its built copy.
    """
    found: dict[int, Any] = {}
    for part, other in _pairs(layer, new):
        own, others = (
            {v.name: v for v in x.weights if len(_named(x, v.name)) == 1}
            for x in (part, other)
        )
        if own.keys() == others.keys():
            found |= {id(others[name]): own[name] for name in own}
    places = {id(v): place for place, v in enumerate(layer.weights)}
    if any(id(v) not in found for v in new.weights):
        return list(range(len(new.weights)))
    return [places[id(found[id(v)])] for v in new.weights]


def _named(part: Any, name: str) -> list[Any]:
    return [v for v in part.weights if v.name == name]


def are_same(first: Any, second: Any) -> bool:
    """Says whether copies have the same states beside trained weights."""
    pairs = list(_pairs(first, second))
    return bool(pairs) and all(
        _is_same(_state(part), _state(other)) for part, other in pairs
    )


def vocabularies(network: Any) -> dict[str, list[Any]]:
    """Finds what layers that look words up know, by the layers' names.

    Keras saves a vocabulary as an asset, or in the config if it was given.
    """
    return {
        part.name: list(part.get_vocabulary())
        for part in parts(network)
        if hasattr(part, "get_vocabulary")
    }


def frozen_in(network: Any) -> dict[int, str]:
    """Finds weights from which layers computed constants, and their names."""
    return {
        id(weight): part.name
        for part in parts(network)
        if _has_own(part, "load_own_variables") and _computed(part)
        for weight in part.non_trainable_weights
    }


def save(network: Any, folder: pathlib.Path) -> None:
    """Saves what a network has beside weights into an existing folder."""
    for number, part in enumerate(parts(network)):
        if store := _own_variables(part):
            np.savez(folder / f"{number}.npz", **store)
        if _has_own(part, "save_assets"):
            path = folder / str(number)
            path.mkdir()
            part.save_assets(str(path))


def load(network: Any, folder: pathlib.Path) -> None:
    """Loads what `save` has saved of a network like this one."""
    for number, part in enumerate(parts(network)):
        path = folder / str(number)
        if (stored := path.with_suffix(".npz")).exists():
            with np.load(stored) as store:
                part.load_own_variables(dict(store))
        if path.exists():
            part.load_assets(str(path))


def _pairs(
    layer: Any, new: Any, without: Any = ()
) -> Iterator[tuple[Any, Any]]:
    """Pairs the parts of a layer and of its copy; none if these differ."""
    own, others = parts(layer, without), parts(new, without)
    if list(map(type, own)) == list(map(type, others)):
        yield from zip(own, others, strict=True)


def _state(part: Any) -> Any:
    """Reads what a layer computes with that is no variable."""
    state: dict[str, Any] = {"constants": _constants(part) | _computed(part)}
    if not reading.is_ours(part):
        state["variables"] = _own_variables(part)
    if _has_own(part, "save_assets"):
        with tempfile.TemporaryDirectory() as path:
            part.save_assets(path)
            state["assets"] = {
                str(file.relative_to(path)): file.read_bytes()
                for file in sorted(pathlib.Path(path).rglob("*"))
                if file.is_file()
            }
    return state


def _computed(part: Any) -> dict[str, Any]:
    """Finds the tensors that a layer keeps, such as constants of weights."""
    return {
        name: value
        for name, value in vars(part).items()
        if isinstance(value, tf.Tensor) and hasattr(value, "numpy")
    }


def _own_variables(part: Any) -> dict[str, Any]:
    """Reads what a layer without trained weights saves in their place."""
    if not _has_own(part, "load_own_variables") or part.trainable_variables:
        return {}
    store: dict[str, Any] = {}
    part.save_own_variables(store)
    return {name: np.asarray(value) for name, value in store.items()}


def _constants(part: Any) -> dict[str, Any]:
    """Finds arrays and numbers among the attributes of a user's layer."""
    if reading.is_ours(part):
        return {}
    common = common_names()
    return {
        name: value
        for name, value in vars(part).items()
        if name not in common and is_plain(value)
    }


@functools.cache
def common_names() -> frozenset[str]:
    """Lists the attributes that layers and models of all classes have."""
    # In a thread, which no strategy and no policy of the caller's reaches.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_names_of_trained).result()


def _names_of_trained() -> frozenset[str]:
    # From zeros, in order: no random number of the caller's seed is taken.
    bare = keras.layers.Layer()
    dense = keras.layers.Dense(1, kernel_initializer="zeros")
    bare.add_weight(shape=(), initializer="zeros")
    inputs = keras.Input((1,))
    models = [
        keras.Sequential([inputs, dense]),
        keras.Model(inputs, dense(inputs)),
    ]
    for model in models:
        model.compile("sgd", "mse")
    rows = np.zeros((1, 1))
    models[0].fit(rows, rows, shuffle=False, verbose=0)
    models[0].evaluate(rows, rows, verbose=0)
    models[0].predict(rows, verbose=0)
    layers = [bare, keras.layers.Identity(), *models]
    return frozenset().union(*map(vars, layers))


def is_plain(value: Any) -> bool:
    """Says whether a value is of numbers, texts and arrays alone."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, tf.Tensor):
        return hasattr(value, "numpy")
    return value is None or isinstance(
        value, bool | int | float | str | np.ndarray | np.generic
    )


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_is_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_is_same, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | tf.Tensor):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return bool(a == b)


def _has_own(layer: Any, method: str) -> bool:
    """Says whether a layer's class overrides a method of all layers."""
    common = getattr(keras.layers.Layer, method, None)
    return getattr(type(layer), method, None) is not common
