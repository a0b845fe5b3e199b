"""Copies layers and models, and how they are compiled."""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import keras
import numpy as np

from tfpbnn.base import keras_private
from tfpbnn.base.types import Config
from tfpbnn.networks import states
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


def compile_like(
    model: keras.Model, other: Any, optimizer: Any = None, loss: Any = None
) -> None:
    """Compiles a built model as another one is, if that is compiled.

    Args:
        model: the model to compile.
        other: the Keras model whose arguments of `compile` are taken.
        optimizer: the optimizer; None for a new one like the other's.
        loss: the loss; None for the other's.
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
    loss = other.loss if loss is None else loss
    model.compile(optimizer, loss=loss, **kept)
    if is_own:  # or Keras warns when it loads the model
        model.optimizer.build(model.trainable_variables)


def clone(
    model: keras.Model,
    *,
    compiled: bool = True,
    change: Callable[[Config], Config] | None = None,
    without: Any = (),
) -> keras.Model:
    """Copies a model, with its class, layers, weights and compile arguments.

    `keras.models.clone_model` would turn subclasses of Sequential into that.

    Args:
        model: a built model.
        compiled: whether the clone of a compiled model is compiled too.
        change: what makes the config of the clone from that of the model;
            None for the same.
        without: the class of layers (or a tuple of classes) that `change`
            gives the clone others of; their states are not copied.

    Raises:
        ValueError: if the class can't be made from its config.
    """
    try:
        with _of(model):
            config = model.get_config()
            config = config if change is None else change(config)
            copy = type(model).from_config(config)
            if not copy.built:
                copy.build_from_config(model.get_build_config())
            if model.compiled and compiled:
                compile_like(copy, model)
        _check_parts(model, copy, without)
        copy_state(model, copy, without)
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


def _check_parts(
    model: keras.Model, copy: keras.Model, without: Any = ()
) -> None:
    """Raises if Keras has made another network from a model's config."""
    own, others = (
        list(map(type, states.parts(m, without))) for m in (model, copy)
    )
    if own != others:
        raise ValueError(
            "`model` must have a config from which Keras makes the same layers "
            "again, which it can't if one layer is called in the model and in "
            f"a model inside of it. Received: {model.name}, of {len(own) - 1} "
            f"layers, of which Keras makes {len(others) - 1}"
        )


def like_its_copies(model: keras.Model) -> keras.Model:
    """Returns a model, or a copy, whose copies list weights as it does.

    Layers that were quantized after they were built do not; their copies do.
    """
    modes = [getattr(p, "quantization_mode", None) for p in states.parts(model)]
    return clone(model) if any(modes) else model


def copy_compiled(model: keras.Model, new: keras.Model) -> None:
    """Compiles a copy like the model, if that is compiled and this works."""
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


class Copier:
    """Copies layers, without their weights, for `copy_state` when built.

    A layer is copied once, wherever others hold it. So copies of layers that
    share a weight share one too.
    """

    def __init__(self) -> None:
        """Begins without copies."""
        self._copies: dict[int, Any] = {}
        self._originals: list[Any] = []  # their ids are not to be used again

    def __call__(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Copies a layer, once.

        Raises:
            ValueError: if the layer can't be made from its config; the message
                names it.
        """
        if id(layer) not in self._copies:
            self._originals.append(layer)
            with _of(layer, self._copies):
                new = _from_config(layer)
            if new is not layer:  # vocabularies give the shape of its outputs
                states.copy_own(layer, new)
            self._copies[id(layer)] = new
        return self._copies[id(layer)]

    def know(self, layer: Any, new: Any) -> None:
        """Registers a layer as the copy of another."""
        self._originals.append(layer)
        self._copies[id(layer)] = new


def _from_config(layer: keras.layers.Layer) -> keras.layers.Layer:
    cls = type(layer)
    try:
        return cls.from_config(layer.get_config())
    except Exception as error:
        reason = error
    if not layer.weights:  # nothing that a copy would own
        return layer
    try:  # some configs say more than their constructor takes
        return cls.from_config(arguments(layer.get_config(), cls))
    except Exception:
        raise ValueError(
            f"The layer {layer.name!r} of `model`, of type {cls.__name__}, "
            f"can't be copied by its `get_config` and `from_config`: {reason}"
        ) from reason


@contextlib.contextmanager
def _of(layer: Any, copies: dict[int, Any] | None = None) -> Iterator[None]:
    """Makes configs copy a layer or model, and all layers in it."""
    held = states.parts(layer)
    copies = {} if copies is None else copies
    for part in held:
        if isinstance(part, keras.layers.Lambda) and id(part) not in copies:
            copies[id(part)] = _lambda_like(part)
    classes = {type(part).__name__: type(part) for part in held}
    with (
        keras.saving.custom_object_scope(classes),
        keras_private.sharing(held, copies),
    ):
        yield


def _lambda_like(layer: keras.layers.Lambda) -> keras.layers.Lambda:
    """Copies a Lambda with its function itself, which configs lack.

    Raises:
        ValueError: if the function reads weights, since the copy would read
            those of the original layers.
    """
    named: dict[str, Any] = {}
    if inspect.isfunction(layer.function):
        found = inspect.getclosurevars(layer.function)
        named = {**found.nonlocals, **found.globals}
    for name, value in named.items():
        has_weights = isinstance(value, keras.layers.Layer) and value.weights
        if has_weights or isinstance(value, keras.Variable):
            raise ValueError(
                "A Lambda must not read weights of other layers by their names "
                "in its code, since its copy would read them too, not their "
                f"copies. Received: {layer.name!r}, which reads {name!r}. Make "
                "it a layer that is given the other one by its constructor."
            )
    return type(layer)(**keras_private.lambda_arguments(layer))


def copy_state(
    layer: keras.layers.Layer, new: keras.layers.Layer, without: Any = ()
) -> None:
    """Copies the state of a layer or model to its built copy."""
    shapes = [[tuple(v.shape) for v in x.weights] for x in (layer, new)]
    if shapes[0] == shapes[1] and not without:
        new.set_weights(layer.get_weights())
    else:  # layers that are quantized make their weights in another order
        states.copy_variables(layer, new, without)
    states.copy_own(layer, new, without)


def arguments(config: Config, cls: type[keras.layers.Layer]) -> Config:
    """Takes the part of a layer's config that another class accepts.

    None is left out, since it stands for the default in both classes.
    """
    takes: set[str] = set()
    for base in cls.__mro__:
        if issubclass(base, keras.layers.Layer) and "__init__" in vars(base):
            takes |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return {k: v for k, v in config.items() if k in takes and v is not None}


def fresh(network: keras.Model) -> keras.Model:
    """Makes another network like one, with new initial weights.

    Weights that are not trained (frozen layers, adapted preprocessing) keep
    their values.
    """
    check_built(network)
    with _of(network):
        copy = _made(keras.saving.serialize_keras_object(network))
    _check_parts(network, copy)
    initial = [np.asarray(v) for v in copy.trainable_variables]
    weights = {id(weight) for weight in network.weights}
    for old, new in zip(network.variables, copy.variables, strict=True):
        # What is no weight is the state of a generator of Keras's.
        if not old.trainable and id(old) in weights and not is_noise(old):
            new.assign(old)
    states.copy_own(network, copy)
    set_values(copy.trainable_variables, initial)
    return copy


def settle(model: keras.Model) -> None:
    """Lets layers compute what follows from their weights, once these are set.

    An adapted normalization has such constants, for example.
    """
    states.copy_own(model, model)


def config_of(network: keras.Model) -> Config:
    """Returns the config from which `from_config` makes the network."""
    with keras_private.sharing(states.parts(network)[1:], {}):
        config = keras.saving.serialize_keras_object(network)
    config.pop("compile_config", None)
    return config


def from_config(config: Config) -> keras.Model:
    """Makes a built network, with its own layers and new initial weights."""
    with keras_private.sharing([], {}):
        return _made(deepcopy(config))  # making one takes from it


def _made(config: Config) -> keras.Model:
    config.pop("compile_config", None)
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
