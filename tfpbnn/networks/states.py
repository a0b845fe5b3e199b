"""What layers have beside weights, such as vocabularies: read, copied, kept.

Keras saves it by methods of the layers, `save_own_variables` and `save_assets`,
and so it is read and copied here. What a user's code puts into plain attributes
of a layer, as arrays and numbers, Keras doesn't save; copies have it too.
"""

import copy
import functools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.networks import reading


def parts(layer: Any) -> list[Any]:
    """A layer or model, and all the layers in it, in whatever they are."""
    return [layer, *keras_private.held_layers(layer)]


def copy_own(layer: Any, copied: Any) -> None:
    """Gives a copy what its layer has beside weights.

    That is what layers save by methods of their own, what they compute when
    they load their weights, and a user's own attributes. Layers that are not
    built yet have no weights to be told of.

    Args:
        layer: a layer or model.
        copied: a copy of it, or the layer itself, to compute things anew.
    """
    for part, new in _pairs(layer, copied):
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


def copy_variables(layer: Any, new: Any) -> None:
    """Copies weights layer by layer, as each of them saves and loads its own.

    Raises:
        ValueError: if the copy has other layers, or they other weights.
    """
    pairs = list(_pairs(layer, new))
    if not pairs:
        raise ValueError(
            f"The layers in the copy of {layer.name!r} must be like its own. "
            f"Received: {parts(new)}, for {parts(layer)}"
        )
    for part, other in pairs:
        store: dict[str, Any] = {}
        part.save_own_variables(store)
        other.load_own_variables(store)


def are_same(first: Any, second: Any) -> bool:
    """Whether copies have the same states beside what is trained."""
    pairs = list(_pairs(first, second))
    return bool(pairs) and all(
        _is_same(_state(part), _state(other)) for part, other in pairs
    )


def frozen_in(network: Any) -> dict[int, str]:
    """Weights that layers have made constants of, and these layers' names."""
    return {
        id(weight): part.name
        for part in parts(network)
        if _has_own(part, "load_own_variables") and _computed(part)
        for weight in part.non_trainable_weights
    }


def save(network: Any, folder: pathlib.Path) -> None:
    """Writes what a network has beside weights into a folder that is there."""
    for number, part in enumerate(parts(network)):
        if store := _own_variables(part):
            np.savez(folder / f"{number}.npz", **store)
        if _has_own(part, "save_assets"):
            path = folder / str(number)
            path.mkdir()
            part.save_assets(str(path))


def load(network: Any, folder: pathlib.Path) -> None:
    """Reads what `save` has written of a network like this one."""
    for number, part in enumerate(parts(network)):
        path = folder / str(number)
        if (stored := path.with_suffix(".npz")).exists():
            with np.load(stored) as store:
                part.load_own_variables(dict(store))
        if path.exists():
            part.load_assets(str(path))


def _pairs(layer: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of a layer and of its copy; none if some are not made yet."""
    own, others = parts(layer), parts(new)
    if list(map(type, own)) == list(map(type, others)):
        yield from zip(own, others, strict=True)


def _state(part: Any) -> Any:
    """What a layer computes with that is no variable."""
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
    """The tensors that a layer keeps, as those of its weights."""
    return {
        name: value
        for name, value in vars(part).items()
        if isinstance(value, tf.Tensor) and hasattr(value, "numpy")
    }


def _own_variables(part: Any) -> dict[str, Any]:
    """What a layer saves in place of weights that are trained."""
    if not _has_own(part, "load_own_variables") or part.trainable_variables:
        return {}
    store: dict[str, Any] = {}
    part.save_own_variables(store)
    return {name: np.asarray(value) for name, value in store.items()}


def _constants(part: Any) -> dict[str, Any]:
    """Arrays and numbers among the attributes of a layer of the user's."""
    if reading.is_ours(part):
        return {}
    common = _common_names()
    return {
        name: value
        for name, value in vars(part).items()
        if name not in common and _is_plain(value)
    }


@functools.cache
def _common_names() -> frozenset[str]:
    """The attributes that layers and models have, whatever their class."""
    bare, layer = keras.layers.Layer(), keras.layers.Identity()
    bare.add_weight(shape=())
    inputs = keras.Input((1,))
    models = [
        keras.Sequential([inputs, layer]),
        keras.Model(inputs, layer(inputs)),
    ]
    for model in models:
        model.compile("sgd", "mse")
    return frozenset().union(*map(vars, [bare, layer, *models]))


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
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
    """Whether a layer's class has more than all layers have."""
    common = getattr(keras.layers.Layer, method, None)
    return getattr(type(layer), method, None) is not common
