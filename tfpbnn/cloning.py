"""Copies of models."""

import keras

from tfpbnn.types import Config


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
                copy.compile_from_config(model.get_compile_config())
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
