"""Files of adapters alone."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfpbnn.base.types import Array, Config
from tfpbnn.layers.lora.lora import LoRA
from tfpbnn.lora.adding import adapt
from tfpbnn.lora.merging import adapted_layers
from tfpbnn.lora.targets import leaves_by_path
from tfpbnn.networks import reading
from tfpbnn.networks.reading import is_noise

_VERSION = 1
_ABOUT = "about"
Path = str | os.PathLike[str]


def save_adapters(model: keras.Model, path: Path) -> None:
    """Writes what trains of an adapted model: adapters, and heads.

    The file has neither the backbone nor the optimizer: `load_adapters` needs
    the same backbone.

    Args:
        model: a model with adapters.
        path: of a file that ends in ".npz"; one that is there is replaced.

    Raises:
        ValueError: if there are no adapters, or the path ends otherwise.

    Example:
    ```python
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    adapted = tfpbnn.lora.add_lora(plain, rank=2)
    tfpbnn.lora.save_adapters(adapted, "adapters.npz")
    again = tfpbnn.lora.load_adapters(plain, "adapters.npz")
    ```
    """
    _check_path(path)
    adapted_layers(model)
    about = {
        "version": _VERSION,
        "layers": _configs(model),
        "trained": _trained(model),
        "backbone": _digest(model, _trained(model)),
    }
    variables = enumerate(_variables(model))
    weights: Config = {f"w{i}": _writable(v) for i, v in variables}
    np.savez(path, **{_ABOUT: np.array(json.dumps(about))}, **weights)


def _writable(variable: keras.Variable) -> Array:
    """The value, in a type that NumPy's files have: not in bfloat16."""
    value = keras.ops.convert_to_numpy(variable)
    return value.astype("float32") if value.dtype.kind == "V" else value


def load_adapters(
    model: keras.Model, path: Path, *, in_place: bool = False
) -> keras.Model:
    """A model with the adapters, and heads, of a file.

    Args:
        model: the plain model that the adapters were trained on, or one with
            adapters like those of the file, which are given its values.
        path: of a file of `save_adapters`.
        in_place: as in `add_lora`, for a plain model.

    Returns:
        The adapted model; `model` itself if it has adapters.

    Raises:
        ValueError: if the file is none of `save_adapters`, if the frozen
            weights of `model` are not those that the adapters were trained
            on, if its adapters are others, or its heads.
    """
    about, weights = _read(path)
    trained, configs = about["trained"], about["layers"]
    _check_backbone(model, about, path)
    layers = leaves_by_path(model)
    if not any(isinstance(layer, LoRA) for layer in layers.values()):
        model = adapt(
            model,
            {id(layers[path]): config for path, config in configs.items()},
            [layers[path] for path in trained],
            in_place,
        )
    elif (_unnamed(_configs(model)), _trained(model)) != (
        _unnamed(configs),
        trained,
    ):
        raise ValueError(
            "`model` must be plain, or have adapters like those of the file. "
            f"Received: adapters {_configs(model)}, and in {path} {configs}"
        )
    variables = _variables(model)
    _check_shapes(variables, weights, path)
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)
    return model


def _unnamed(config: Any) -> Any:
    """A config without the names that Keras counts up in a process."""
    if isinstance(config, dict):
        return {k: _unnamed(v) for k, v in config.items() if k != "name"}
    return config


def _check_shapes(
    variables: list[keras.Variable], weights: list[Array], path: Path
) -> None:
    """Raises, before any is assigned, if a head has other weights."""
    shapes = {v.path: tuple(v.shape) for v in variables}
    found = [weight.shape for weight in weights]
    if list(shapes.values()) != found:
        raise ValueError(
            "`model` must have heads like those that were trained with the "
            f"adapters. Received: weights of shapes {shapes}, and in {path} "
            f"{found}"
        )


def _check_path(path: Path) -> None:
    if not os.fspath(path).endswith(".npz"):
        raise ValueError(
            f'`path` must end in ".npz". Received: path={os.fspath(path)!r}'
        )


def _read(path: Path) -> tuple[Config, list[Array]]:
    try:
        with np.load(path) as file:
            about = json.loads(str(file[_ABOUT]))
            count = len(file.files) - 1
            return about, [file[f"w{i}"] for i in range(count)]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            "`path` must be of a file that `save_adapters` has written. "
            f"Received: path={os.fspath(path)!r}"
        ) from error


def _check_backbone(model: keras.Model, about: Config, path: Path) -> None:
    reading.check_readable(model)
    missing = set(about["trained"]) - set(leaves_by_path(model))
    if missing:
        raise ValueError(
            "`model` must have the heads that were trained with the adapters. "
            f"Received: {model.name}, without {sorted(missing)} of {path}"
        )
    if _digest(model, about["trained"]) != about["backbone"]:
        raise ValueError(
            "`model` must be the one whose adapters were saved: its frozen "
            f"weights are others. Received: {model.name}, for {path}"
        )


def _configs(model: keras.Model) -> Config:
    """The arguments of each `LoRA`, by the path to it, as JSON has them."""
    configs = {
        # The seed is of the draws of the model that was saved.
        path: {k: v for k, v in layer.arguments().items() if k != "seed"}
        for path, layer in leaves_by_path(model).items()
        if isinstance(layer, LoRA)
    }
    return json.loads(json.dumps(configs))


def _trained(model: keras.Model) -> list[str]:
    """The paths of layers that train as a whole."""
    return [
        path
        for path, layer in leaves_by_path(model).items()
        if layer.trainable and not isinstance(layer, LoRA)
    ]


def _variables(model: keras.Model) -> list[keras.Variable]:
    """What of a model is not the backbone's, nor random numbers' states."""
    trained = set(_trained(model))
    return [
        variable
        for path, layer in leaves_by_path(model).items()
        for variable in _own(layer, path in trained)
        if not is_noise(variable)
    ]


def _own(layer: Any, is_trained: bool) -> list[keras.Variable]:
    if isinstance(layer, LoRA):
        return [v for adapter in layer.adapters for v in adapter.weights]
    return layer.weights if is_trained else []


def _digest(model: keras.Model, trained: Iterable[str]) -> str:
    """What tells backbones apart: their frozen weights."""
    paths, digest = set(trained), hashlib.sha256()
    for path, layer in leaves_by_path(model).items():
        if path in paths:
            continue
        digest.update(path.encode())
        plain = layer.layer if isinstance(layer, LoRA) else layer
        for weight in plain.weights:
            if is_noise(weight):
                continue
            value = keras.ops.convert_to_numpy(weight)
            digest.update(str((value.shape, value.dtype)).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
