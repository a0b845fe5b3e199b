"""Copies of layers and models, and of how they are compiled."""

import inspect
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from tfpbnn.base import keras_private
from tfpbnn.base.types import Config
from tfpbnn.networks.reading import check_built, is_noise

_COMPILED = (
    "loss_weights",
    "metrics",
    "weighted_metrics",
    "run_eagerly",
    "steps_per_execution",
    "jit_compile",
    "auto_scale_loss",
)


def compile_like(model: keras.Model, other: Any, optimizer: Any = None) -> None:
    """Compiles a built model as another one is, if that is compiled.

    Args:
        model: the model to compile.
        other: the Keras model that says how.
        optimizer: the optimizer; None for a new one like the other's.
    """
    config = other.get_compile_config()
    if not config:
        return
    # Metrics have states, so there are new ones. What they are made from is
    # known here, also if it is not registered.
    given = keras_private.compile_arguments(other)
    parts = keras.tree.flatten([given["metrics"], given["weighted_metrics"]])
    makers = [p if inspect.isroutine(p) else type(p) for p in parts]
    known = {maker.__name__: maker for maker in makers}
    with keras.saving.custom_object_scope(known):
        kept = keras.saving.deserialize_keras_object(
            {name: config[name] for name in _COMPILED if name in config}
        )
    is_own = optimizer is None
    if is_own:
        optimizer = type(other.optimizer).from_config(
            other.optimizer.get_config()
        )
    model.compile(optimizer, loss=other.loss, **kept)
    if is_own:  # or Keras warns when it loads the model
        model.optimizer.build(model.trainable_variables)


def clone(model: keras.Model, *, compiled: bool = True) -> keras.Model:
    """A model of the same class, layers, weights and compile arguments.

    `keras.models.clone_model` would turn subclasses of Sequential into that.

    Args:
        model: a built model.
        compiled: whether the clone of a compiled model is compiled too.

    Raises:
        ValueError: if the class can't be made from its config.
    """
    try:
        with keras.saving.custom_object_scope(_classes(model)):
            copy = type(model).from_config(model.get_config())
            if not copy.built:
                copy.build_from_config(model.get_build_config())
            if model.compiled and compiled:
                compile_like(copy, model)
        copy_state(model, copy)
        copy.built = True  # Keras builds a subclass's layers without saying so
    except (NotImplementedError, TypeError, ValueError) as error:
        name = type(model).__name__
        raise ValueError(
            "`model` must be one that can be copied, by "
            f"`{name}.from_config(model.get_config())` and "
            "`set_weights`. Received: one of class "
            f"{name}, for which that fails (see above). A subclassed model "
            "needs a `get_config` that returns its constructor's arguments."
        ) from error
    return copy


def copy_compiled(model: keras.Model, new: keras.Model) -> None:
    """Compiles a copy as the model is, if it is and can be."""
    if not model.compiled:
        return
    try:
        compile_like(new, model)
    except (TypeError, ValueError) as error:
        warnings.warn(
            "The optimizer, loss or metrics of `model` can't be copied by "
            f"their configs: compile the result. ({error})",
            stacklevel=3,
        )


def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy without the weights, for `copy_state` when it is built.

    Raises:
        ValueError: if its config doesn't make it; names the layer.
    """
    with keras.saving.custom_object_scope(_classes(layer)):
        new = _from_config(layer)
    if new is not layer:  # vocabularies say of what shape its outputs are
        _copy_own_state(layer, new)
    return new


def _from_config(layer: keras.layers.Layer) -> keras.layers.Layer:
    cls = type(layer)
    try:
        return cls.from_config(layer.get_config())
    except Exception as error:
        reason = error
    if not layer.weights:  # as a Lambda: nothing that a copy would own
        return layer
    try:  # some configs say more than their constructor takes
        return cls.from_config(arguments(layer.get_config(), cls))
    except Exception:
        raise ValueError(
            f"The layer {layer.name!r} of `model`, of type {cls.__name__}, "
            f"can't be copied by its `get_config` and `from_config`: {reason}"
        ) from reason


def copy_state(layer: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Makes a built copy of a layer or model the same function as it is."""
    _copy_own_state(layer, new)
    new.set_weights(layer.get_weights())


def settle(model: keras.Model) -> None:
    """Lets layers find what follows from their weights, after these are set.

    An adapted normalization has such constants, for example.
    """
    _copy_own_state(model, model, trained=False)


def _copy_own_state(
    layer: keras.layers.Layer, new: keras.layers.Layer, trained: bool = True
) -> None:
    """Copies what layers save and load by methods of their own.

    It is such as vocabularies, and what they compute when they load weights.

    Args:
        layer: a layer or model.
        new: a copy of it.
        trained: whether layers with trainable weights are among them.
    """
    parts, copies = map(_parts, (layer, new))
    if list(map(type, parts)) != list(map(type, copies)):
        return  # some are made when it is built
    for part, copy in zip(parts, copies, strict=True):
        if part.trainable_variables and not trained:
            continue
        if part.built and copy.built and _has_own(part, "load_own_variables"):
            store: dict[str, Any] = {}
            part.save_own_variables(store)
            copy.load_own_variables(store)
        if part is not copy and _has_own(part, "load_assets"):
            with tempfile.TemporaryDirectory() as path:
                part.save_assets(path)
                copy.load_assets(path)


def _has_own(layer: keras.layers.Layer, method: str) -> bool:
    """Whether a layer's class has more than all layers have."""
    common = getattr(keras.layers.Layer, method, None)
    return getattr(type(layer), method, None) is not common


def _classes(layer: keras.layers.Layer) -> dict[str, type]:
    """The classes in a layer or model by name, registered or not."""
    return {type(part).__name__: type(part) for part in _parts(layer)}


def arguments(config: Config, cls: type[keras.layers.Layer]) -> Config:
    """The part of a layer's config that another class of layers takes.

    None is left out: it stands for the default, in both.
    """
    takes: set[str] = set()
    for base in cls.__mro__:
        if issubclass(base, keras.layers.Layer) and "__init__" in vars(base):
            takes |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return {k: v for k, v in config.items() if k in takes and v is not None}


def fresh(network: keras.Model) -> keras.Model:
    """Another network like one, with new initial weights.

    What is not trained (frozen layers, adapted preprocessing) keeps its values.
    """
    check_built(network)
    with keras.saving.custom_object_scope(_classes(network)):
        copy = from_config(config_of(network))
    weights = {id(weight) for weight in network.weights}
    for old, new in zip(network.variables, copy.variables, strict=True):
        # What is no weight is the state of a generator of Keras's.
        if not old.trainable and id(old) in weights and not is_noise(old):
            new.assign(old)
    _copy_own_state(network, copy, trained=False)
    return copy


def config_of(network: keras.Model) -> Config:
    """What `from_config` makes the network from again."""
    config = keras.saving.serialize_keras_object(network)
    config.pop("compile_config", None)
    return config


def from_config(config: Config) -> keras.Model:
    """A built network, with new initial weights."""
    network = keras.saving.deserialize_keras_object(config)
    if not network.built:
        network.build_from_config(config["build_config"])
    network.built = True  # Keras builds a subclass's layers without saying so
    return network


def set_values(
    variables: Sequence[keras.Variable], values: Sequence[Any]
) -> None:
    """Assigns values to variables."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _parts(layer: keras.layers.Layer) -> list[Any]:
    """A layer or model, and all the layers in it, in whatever they are."""
    return [layer, *keras_private.held_layers(layer)]
