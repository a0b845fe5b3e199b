"""Registration and look-up of the objects that layers take by name."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras

from tfpbnn.types import Config, Identifier

PACKAGE = "tfpbnn"
T = TypeVar("T")


def register(cls: T) -> T:
    """Makes Keras load the class by its name, such as `tfpbnn>priors.Normal`.

    With the module's first part in it: a prior and a likelihood are `Normal`.
    """
    concept = cls.__module__.split(".")[1]
    name = f"{concept}.{cls.__name__}"  # type: ignore[attr-defined]
    return keras.saving.register_keras_serializable(PACKAGE, name)(cls)


def snake_case(name: str) -> str:
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
        known: what makes an instance, usually its class, by snake-case name.
        argument: the argument's name, for error messages.

    Raises:
        ValueError: for a name that is not known.
        TypeError: for anything else that is not an instance of `base`.
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


def check_rate(value: Any, name: str = "rate") -> float:
    """A probability to drop something."""
    if not (isinstance(value, int | float) and 0 <= value < 1):
        raise ValueError(
            f"`{name}` must be a number from 0 to below 1. Received: "
            f"{name}={value!r}"
        )
    return float(value)


def check_open_rate(value: Any, name: str) -> float:
    """A probability that is neither 0 nor 1."""
    if not (isinstance(value, int | float) and 0 < value < 1):
        raise ValueError(
            f"`{name}` must be a number between 0 and 1, exclusive. Received: "
            f"{name}={value!r}"
        )
    return float(value)


class Template(keras.layers.Layer):
    """A part of a layer that owns variables: a posterior family or a prior.

    What a user passes is a template. Each layer makes a copy of its own, so
    one object given to two layers shares nothing between them, and Keras
    tracks and saves the copy's variables as those of any inner layer.
    """

    def __init__(self, *, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def copy(self: T, *, name: str, dtype: Any, **overrides: Any) -> T:
        """An unbuilt copy; `overrides` replace arguments of the constructor."""
        config = self.get_config()  # type: ignore[attr-defined]
        return type(self).from_config(  # type: ignore[attr-defined]
            config | overrides | {"name": name, "dtype": dtype}
        )

    def serialize(self) -> Config:
        """The config that `get` reads, without the built shape."""
        template = self.copy(name=self.name, dtype=self.dtype_policy)
        return keras.saving.serialize_keras_object(template)

    @property
    def parameter_dtype(self) -> str:
        """Float32 under every half-precision policy, pure or mixed.

        A step of a scale, or a sum over a kernel, is lost in 16 bits.
        """
        return "float64" if self.variable_dtype == "float64" else "float32"

    def add_parameter(
        self, name: str, shape: Any, initializer: Any, **kwargs: Any
    ) -> keras.Variable:
        """A variable of `parameter_dtype`, exempt from autocasting."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=self.parameter_dtype,
            autocast=False,
            **kwargs,
        )
