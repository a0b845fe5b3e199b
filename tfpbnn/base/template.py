"""Defines parts of layers that own variables: posterior families and priors."""

import inspect
from typing import Any

import keras

from tfpbnn.base.registry import T
from tfpbnn.base.types import Config


def _check_complete(cls: type, config: Config) -> None:
    """Raises if a copy by the config would silently lose an argument."""
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

    Attributes:
        is_frozen: whether variables are never trained, also if the layer is
            set to be trainable; to be set before `build`.
    """

    is_frozen = False

    def __init__(self, *, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def copy(self: T, *, name: str, dtype: Any, **overrides: Any) -> T:
        """Makes an unbuilt copy; `overrides` replace constructor arguments.

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
        """Returns the config that `get` reads, without the built shape."""
        template = self.copy(name=self.name, dtype=self.dtype_policy)
        return keras.saving.serialize_keras_object(template)

    @property
    def parameter_dtype(self) -> str:
        """The dtype of variables: float32 in place of half precision.

        A small step of a scale, or a sum over a kernel, is lost in 16 bits.
        """
        return "float64" if self.variable_dtype == "float64" else "float32"

    def add_parameter(
        self, name: str, shape: Any, initializer: Any, **kwargs: Any
    ) -> keras.Variable:
        """Adds a variable of `parameter_dtype`, exempt from autocasting."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=self.parameter_dtype,
            autocast=False,
            **kwargs | ({"trainable": False} if self.is_frozen else {}),
        )
