"""Registration and look-up of the objects that layers take by name."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras

from tfpbnn.types import Config, Identifier

PACKAGE = "tfpbnn"
T = TypeVar("T")


def register(concept: str) -> Callable[[type[T]], type[T]]:
    """Makes Keras load a class by its name, such as `tfpbnn>priors.Normal`.

    Saved files hold that name, so it must never change; it does not depend on
    the module that the class is in.

    Args:
        concept: what the class is one of, such as "priors": a prior and a
            likelihood are both called `Normal`.
    """

    def named(cls: type[T]) -> type[T]:
        name = f"{concept}.{cls.__name__}"
        return keras.saving.register_keras_serializable(PACKAGE, name)(cls)

    return named


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


def _check_complete(cls: type, config: Config) -> None:
    """Raises if a copy by the config would lose an argument in silence."""
    parameters = inspect.signature(cls).parameters.values()
    lost = sorted(
        parameter.name
        for parameter in parameters
        if parameter.kind
        not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in config
    )
    if lost:
        raise ValueError(
            f"`{cls.__name__}.get_config` must have all arguments of its "
            "constructor, since each layer makes its own copy by it, and files "
            f"are loaded by it. {lost} are missing: write a `get_config` that "
            f'returns `super().get_config() | {{"{lost[0]}": ...}}`.'
        )


class Template(keras.layers.Layer):
    """A part of a layer that owns variables: a posterior family or a prior.

    What a user passes is a template. Each layer makes a copy of its own, so
    one object given to two layers shares nothing between them, and Keras
    tracks and saves the copy's variables as those of any inner layer.
    """

    def __init__(self, *, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def copy(self: T, *, name: str, dtype: Any, **overrides: Any) -> T:
        """An unbuilt copy; `overrides` replace arguments of the constructor.

        Raises:
            ValueError: if a subclass takes arguments that its config lacks.
        """
        config = self.get_config()  # type: ignore[attr-defined]
        _check_complete(type(self), config)
        # As plain data: of a class without a `get_config` Keras keeps nothing
        # else.
        policy = keras.dtype_policies.get(dtype)
        plain = {"name": name, "dtype": keras.dtype_policies.serialize(policy)}
        return type(self).from_config(  # type: ignore[attr-defined]
            config | overrides | plain
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
