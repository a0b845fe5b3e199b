"""Registers and looks up the objects that layers take by name."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras

from tfpbnn.base.types import Identifier

PACKAGE = "tfpbnn"
T = TypeVar("T")


def register(concept: str) -> Callable[[type[T]], type[T]]:
    """Makes Keras load a class by its name, such as `tfpbnn>priors.Normal`.

    Saved files hold that name, so it must never change; it does not depend on
    the module that the class is in.

    Args:
        concept: the kind of class, such as "priors", since a prior and a
            likelihood are both called `Normal`.
    """

    def named(cls: type[T]) -> type[T]:
        name = f"{concept}.{cls.__name__}"
        return keras.saving.register_keras_serializable(PACKAGE, name)(cls)

    return named


def snake_case(name: str) -> str:
    """Converts a class name to snake case, as strings name classes."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def get(
    identifier: Identifier,
    base: Any,
    known: Mapping[str, Callable[[], T]],
    argument: str,
) -> T | None:
    """Resolves a name, a config or an object to an instance of `base`.

    Args:
        identifier: a class name in either spelling ("MeanFieldNormal" or
            "mean_field_normal"), a Keras config of a registered object, an
            instance, or None.
        base: the class that the result must be an instance of.
        known: the functions that make instances, usually classes, by their
            snake-case names.
        argument: the argument's name, for error messages.

    Raises:
        ValueError: if a name is not known.
        TypeError: if anything else is not an instance of `base`.
    """
    if identifier is None or isinstance(identifier, base):
        return identifier
    if isinstance(identifier, str):
        name = snake_case(identifier)
        if name not in known:
            raise ValueError(
                f"`{argument}` must be a known name. Expected one of "
                f"{sorted(known)}. Received: {argument}={identifier!r}"
            )
        return known[name]()
    if isinstance(identifier, Mapping):
        identifier = keras.saving.deserialize_keras_object(dict(identifier))
        if isinstance(identifier, base):
            return identifier
    public = ".".join([*base.__module__.split(".")[:2], base.__name__])
    raise TypeError(
        f"`{argument}` must be a name, a config or an instance of "
        f"`{public}`. Received: "
        f"{argument}={identifier!r} of type {type(identifier).__name__}"
    )
