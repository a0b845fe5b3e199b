"""Copies of layers and models, and of how they are compiled."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from tfpbnn.base import keras_private
from tfpbnn.base.types import Config
from tfpbnn.networks.reading import check_built

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
        model: what to compile.
        other: a Keras model.
        optimizer: None for a new one like the other's.
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


def clone(
    model: keras.Model, config: Config | None = None, *, compiled: bool = True
) -> keras.Model:
    """A model of the same class, layers, weights and compile arguments.

    `keras.models.clone_model` would turn subclasses of Sequential into that.

    Args:
        model: a built model.
        config: of the clone, if it is to have other layers; its weights are
            then left as they are made.
        compiled: whether the clone of a compiled model is compiled too.

    Raises:
        ValueError: if the class can't be made from its config.
    """
    parts = [model, *keras_private.held_layers(model)]
    classes = {type(part).__name__: type(part) for part in parts}
    try:
        with keras.saving.custom_object_scope(classes):
            copy = type(model).from_config(config or model.get_config())
            if not copy.built:
                copy.build_from_config(model.get_build_config())
            if model.compiled and compiled:
                compile_like(copy, model)
        if config is None:
            copy.set_weights(model.get_weights())
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
    """A copy without the weights.

    Raises:
        ValueError: if its config doesn't make it; names the layer.
    """
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


def arguments(config: Config, cls: type[keras.layers.Layer]) -> Config:
    """What of a layer's config another layer class takes.

    None is left out: it stands for the default, in both.
    """
    takes: set[str] = set()
    for base in cls.__mro__:
        if issubclass(base, keras.layers.Layer) and "__init__" in vars(base):
            takes |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return {k: v for k, v in config.items() if k in takes and v is not None}


def fresh(network: keras.Model) -> keras.Model:
    """One more like it, with new initial weights.

    What is not trained (frozen layers, adapted preprocessing) keeps its values.
    """
    check_built(network)
    copy = from_config(config_of(network))
    for old, new in zip(network.variables, copy.variables, strict=True):
        if not old.trainable and not _is_noise(old, network):
            new.assign(old)
    return copy


def _is_noise(variable: keras.Variable, network: keras.Model) -> bool:
    is_weight = any(variable is weight for weight in network.weights)
    return hasattr(variable, "is_noise") or not is_weight


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
