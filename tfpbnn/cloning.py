"""Copies of models, and of how they are compiled."""

import inspect
from typing import Any

import keras

from tfpbnn.types import Config

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
    given = other._compile_config.config
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
    classes = {
        type(part).__name__: type(part) for part in model._flatten_layers()
    }
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
