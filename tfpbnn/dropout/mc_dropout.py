"""Monte Carlo dropout of a trained model."""

import copy
from collections.abc import Iterator
from typing import Any

import keras

from tfpbnn.base import checks
from tfpbnn.base.types import Config
from tfpbnn.layers.dropout.mc_noise import MCDropout
from tfpbnn.layers.dropout.mc_wrapper import MCWrapper, has_noise, twin
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.copying import clone
from tfpbnn.networks.reading import can_read, check_built

_WEIGHTED = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def mc_dropout(model: keras.Model, rate: float | None = None) -> keras.Model:
    """A copy of a model whose dropout stays random in prediction.

    `tfpbnn.predict` of it is Monte Carlo dropout: each draw has masks of its
    own, which are the same for all rows. Dropout layers become their `MC`
    counterparts (`Dropout` an `MCDropout`), and layers with dropout inside,
    recurrent, attention or of any other kind, are put into an `MCWrapper`;
    names stay. Nothing else changes: a BatchNorm stays in inference mode, and
    `fit` trains as before, though what it reports of validation data is now
    with dropout too.

    Args:
        model: a built Functional or Sequential model, with others in it or not.
        rate: of all dropout layers, instead of the rates that the model was
            trained with. For a model without dropout: of a dropout that is put
            before each layer with a kernel but the first ones, those that
            see no other such layer's outputs. Choose it by the score on
            validation data.

    Returns:
        A compiled model if the model was. Weights are copied, not shared:
        training one does not change the other.

    Raises:
        ValueError: if the model has no dropout and `rate` is None; if it is
            subclassed or was never built; if `rate` is not from 0 to below 1.
        TypeError: if it is not a Keras model.

    Example:
    ```python
    trained = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(1),
    ])
    trained.compile("adam", loss="mse")
    mc = tfpbnn.mc_dropout(trained)
    tfpbnn.predict(mc, x, num_samples=50).epistemic_variance
    ```

    Reference:
        [Gal and Ghahramani, 2016](https://arxiv.org/abs/1506.02142);
        [Ledda et al., 2023](https://arxiv.org/abs/2302.02924), for dropout
        that the model was not trained with
    """
    check_built(model)
    _check_readable(model)
    if rate is not None:
        checks.rate("rate", rate)
    config, found = _converted(model, rate)
    if not found and rate is None:
        raise ValueError(
            f"`rate` must be given, since `model` ({model.name}) has no "
            "dropout. With a rate, dropout is put before its hidden layers. "
            "Received: rate=None"
        )
    if not found:
        assert rate is not None
        config, found = _with_dropout(model, rate, hidden=False)
    if not found:
        raise ValueError(
            f"`model` ({model.name}) has no hidden layer with a kernel, before "
            "which dropout could be put."
        )
    mc = clone(model, config)
    _copy_weights(model, mc)
    return mc


def _check_readable(model: keras.Model) -> None:
    if not can_read(model):
        raise ValueError(
            "`model` must be a Functional or Sequential model. Received: "
            f"{model.name}, a {type(model).__name__}. Use the layers of "
            "tfpbnn.layers, such as MCDropout, in it."
        )


def _layers_of(model: Any, config: Config) -> Iterator[tuple[Config, Any]]:
    """The entries of a model's config, with their layers."""
    layers = {layer.name: layer for layer in model.layers}
    for entry in config["layers"]:
        layer = layers.get(entry["config"]["name"])
        if layer is not None and not _is_input(layer):
            yield entry, layer


def _is_input(layer: Any) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def _converted(model: Any, rate: float | None) -> tuple[Config, int]:
    """The config with random dropout, and how much of it there is."""
    config, count = model.get_config(), 0
    for entry, layer in list(_layers_of(model, config)):
        if can_read(layer):
            entry["config"], found = _converted(layer, rate)
            count += found
            continue
        new = _random(layer, rate)
        if new is None:
            continue
        was_on = isinstance(layer, RandomLayer) or has_noise(layer)
        count += int(rate is not None or was_on)
        entry.pop("build_config", None)
        entry |= keras.saving.serialize_keras_object(new)
        if not new.weights and len(entry.get("inbound_nodes", [])) > 1:
            _split(config, entry)
    return config, count


def _random(layer: Any, rate: float | None) -> Any:
    """What takes a layer's place; None if it stays."""
    noise = twin(layer, rate)
    if noise is not None:
        return noise
    if isinstance(layer, MCWrapper) and rate is not None:
        return MCWrapper.from_config(layer.get_config() | {"rate": rate})
    if has_noise(layer):
        return MCWrapper(
            layer, rate=rate, name=layer.name, dtype=layer.dtype_policy
        )
    return None


def _split(config: Config, entry: Config) -> None:
    """Makes a dropout that is used in several places as many layers.

    In training its masks differ from place to place; one layer's would not in
    one draw.
    """
    name, nodes = entry["name"], entry["inbound_nodes"]
    known = {other["name"] for other in config["layers"]}
    names = [name]
    while len(names) < len(nodes):
        number = len(known)
        names.append(f"{name}_{number}")
        known.add(names[-1])
    for history in [*_histories(config), *_ends(config["output_layers"])]:
        if history[0] == name:
            history[:2] = [names[history[1]], 0]
    entry["inbound_nodes"] = nodes[:1]
    for new, node in zip(names[1:], nodes[1:], strict=True):
        inner = entry["config"] | {"name": new}
        config["layers"].append(
            entry | {"name": new, "config": inner, "inbound_nodes": [node]}
        )


def _with_dropout(model: Any, rate: float, hidden: bool) -> tuple[Config, int]:
    """The config with new dropout layers, and how many they are.

    Args:
        model: one without dropout, or one inside of it.
        rate: of the dropout.
        hidden: whether layers with kernels come before the model.
    """
    config, count = model.get_config(), 0
    entries, after_kernel = [], set()
    is_functional = "input_layers" in config
    if hidden and is_functional:
        after_kernel |= {
            layer.name for layer in filter(_is_input, model.layers)
        }
    for entry, layer in _layers_of(model, config):
        nodes = entry.get("inbound_nodes", [])
        sources = {history[0] for history in _histories(nodes)}
        is_hidden = bool(sources & after_kernel) if is_functional else hidden
        has_kernel = any(len(v.shape) > 1 for v in layer.weights)
        if can_read(layer):
            entry["config"], found = _with_dropout(layer, rate, is_hidden)
            count += found
        elif is_hidden and isinstance(layer, _WEIGHTED):
            entries.append(_dropout_before(entry, layer, rate))
            count += 1
        if is_hidden or has_kernel:
            after_kernel.add(layer.name)
            hidden = True
        entries.append(entry)
    known = {id(entry) for entry in entries}
    inputs = [entry for entry in config["layers"] if id(entry) not in known]
    return config | {"layers": inputs + entries}, count


def _dropout_before(entry: Config, layer: Any, rate: float) -> Config:
    """An entry for dropout that takes over the inputs of another entry."""
    dropout = MCDropout(
        rate, name=f"{layer.name}_dropout", dtype=layer.dtype_policy
    )
    new = keras.saving.serialize_keras_object(dropout)
    if "inbound_nodes" not in entry:
        return new
    nodes = []
    for number, node in enumerate(entry["inbound_nodes"]):
        (tensor,) = _tensors(node)
        nodes.append({"args": [copy.deepcopy(tensor)], "kwargs": {}})
        tensor["config"]["keras_history"] = [dropout.name, number, 0]
    return new | {"name": dropout.name, "inbound_nodes": nodes}


def _tensors(structure: Any) -> Iterator[Config]:
    """The tensors among the arguments of a node, as Keras serializes them."""
    if isinstance(structure, dict):
        if structure.get("class_name") == "__keras_tensor__":
            yield structure
            return
        structure = list(structure.values())
    if isinstance(structure, list | tuple):
        for part in structure:
            yield from _tensors(part)


def _histories(nodes: Any) -> Iterator[list[Any]]:
    for tensor in _tensors(nodes):
        yield tensor["config"]["keras_history"]


def _ends(outputs: Any) -> Iterator[list[Any]]:
    """The histories of a model's outputs, in whatever structure they are."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs[0], str):
        yield outputs
        return
    for part in outputs:
        yield from _ends(part)


def _copy_weights(model: Any, mc: Any) -> None:
    for old in model.layers:
        new = mc.get_layer(old.name)
        if can_read(old):
            _copy_weights(old, new)
        elif type(new) is type(old):
            new.set_weights(old.get_weights())
        elif isinstance(new, MCWrapper):
            new.layer.set_weights(old.get_weights())
