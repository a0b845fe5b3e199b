"""Reads what a Keras model is: whether it is built, its inputs and layers."""

import collections
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras

from tfpbnn.base import forms
from tfpbnn.base.keras_private import FUNCTIONAL, held_layers
from tfpbnn.networks.posterior import Posterior


def check_readable(model: Any) -> None:
    """Raises unless `model` is Functional or Sequential, and built."""
    if not is_graph(model) or _has_own_call(model):
        raise TypeError(
            "`model` must be a Functional or Sequential Keras model: of a "
            "subclassed one Keras doesn't know the layers' graph. Make it of "
            "inputs and outputs, or write other layers into its code (such as "
            "tfpbnn.layers.DenseFlipout for Dense). Received: "
            f"model={model!r} of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built: it has no weights yet. Give it a "
            "`keras.Input`, or call it on some data. Received: "
            f"model={model!r}"
        )
    if not can_read(model):
        raise ValueError(
            "`model` must be Sequential with inputs that Keras knows. It knows "
            "none where a layer can't tell the shape of its outputs: define "
            "`compute_output_shape` in your own layers, also in those that "
            "TimeDistributed holds, and give the model a `keras.Input`. "
            f"Received: model={model!r}"
        )


def _has_own_call(model: Any) -> bool:
    """Says whether a user's class calls the layers in its own way."""
    is_list = isinstance(model, keras.Sequential)
    return (
        type(model).call
        is not (keras.Sequential if is_list else FUNCTIONAL).call
    )


def is_plain(model: Any) -> bool:
    """Says whether a model is of Keras's plain classes, or of this package's.

    Other classes have their own code, and can't be made from inputs and outputs
    alone.
    """
    cls = type(model)
    is_keras = cls.__module__.split(".")[0] == "keras"
    name = keras.saving.get_registered_name(cls)
    return is_graph(model) and (is_keras or name.startswith("tfpbnn>models."))


def plain_class(model: keras.Model) -> Any:
    """Returns Keras's class of models like one, Sequential or Functional."""
    is_list = isinstance(model, keras.Sequential)
    return keras.Sequential if is_list else keras.Model


def own_class(model: keras.Model) -> Any:
    """Returns a model's class; Keras's if its constructor is not like that."""
    init = type(model).__init__
    if init in (keras.Sequential.__init__, FUNCTIONAL.__init__):
        return type(model)
    kinds = {p.kind for p in inspect.signature(init).parameters.values()}
    takes_any = {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }
    return type(model) if takes_any <= kinds else plain_class(model)


def is_graph(layer: Any) -> bool:
    """Says whether a layer is a model whose layers and graph Keras knows."""
    return isinstance(layer, keras.Sequential | FUNCTIONAL)


def leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a model and of the models in it, each one once."""
    seen: set[int] = set()
    for layer in model.layers:
        inner = leaves(layer) if can_read(layer) else [layer]
        for leaf in inner:
            if id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf


def tied(model: keras.Model) -> set[int]:
    """Finds the ids of the layers of a model that share weights with others."""
    holders: dict[int, list[int]] = {}
    for layer in leaves(model):
        for weight in layer.weights:
            holders.setdefault(id(weight), []).append(id(layer))
    return {i for found in holders.values() if len(found) > 1 for i in found}


def check_built(model: Any) -> None:
    """Raises unless `model` is a Keras model with weights.

    Raises:
        TypeError: if `model` is no Keras model.
        ValueError: if it was never built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"`model` ({model.name}) was never built, so it has no weights: "
            "fit it, load its weights, or give it a keras.Input first."
        )


def template_of(model: Any) -> Any:
    """Returns the template of a posterior; any other model itself.

    It is the network that tells what a model is made of.
    """
    return model.template() if isinstance(model, Posterior) else model


def output_names(model: keras.Model) -> list[str]:
    """Lists the names of a model's outputs: a dict's keys, or Keras's names."""
    model = template_of(model)
    outputs = getattr(model, "output", None)
    if isinstance(outputs, Mapping):
        return keys_of(outputs)
    return list(getattr(model, "output_names", ["output"]))


def has_named_outputs(model: keras.Model) -> bool:
    """Says whether a model's outputs are a dict."""
    return isinstance(getattr(template_of(model), "output", None), Mapping)


def keys_of(structure: Mapping[Any, Any]) -> list[str]:
    """Lists the keys of a dict in the order in which Keras flattens it.

    That is alphabetical order, except for an OrderedDict, which has its own.
    """
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    return list(dict.fromkeys(str(path[0]) for path in paths))


def input_names(model: keras.Model) -> list[str]:
    """Lists the names of a model's inputs in Keras's order; [] if unknown.

    A name is "" if Keras made it up.
    """
    inputs = getattr(template_of(model), "inputs", None) or []
    names = [x.name for x in inputs]
    return ["" if name.startswith("keras_tensor") else name for name in names]


def by_input(model: keras.Model, x: Any) -> Any:
    """Returns x in the order of a model whose inputs are an OrderedDict.

    The arrays of a plain dict are otherwise taken in the order of their names,
    and paired with other inputs.
    """
    inputs = getattr(template_of(model), "input", None)
    if not isinstance(inputs, collections.OrderedDict):
        return x
    if not isinstance(x, dict) or set(x) != set(inputs):
        return x
    return collections.OrderedDict((name, x[name]) for name in inputs)


def compiled_loss(model: keras.Model) -> Any:
    """Returns the loss that a model was compiled with.

    Raises:
        ValueError: if there is no loss.
    """
    loss = getattr(model, "loss", None)
    if loss is None:
        raise ValueError(
            f"`model` ({model.name}) was never compiled with a loss, so the "
            "meaning of its outputs is unknown: compile it with a likelihood "
            "(such as tfpbnn.likelihoods.Normal()) or pass `likelihood=`."
        )
    return loss


# The ends of the names of functions that a layer has for training only.
_NOT_CALLED = ("initializer", "regularizer", "constraint")
# Of Keras's own layers these may hold code of the user's.
_HOLDERS = (keras.layers.Lambda, keras.Model)


def input_like(x: keras.KerasTensor) -> keras.KerasTensor:
    """Makes an input of the same shape, dtype and name."""
    # Older versions of Keras know no ragged inputs.
    form = {"ragged": True} if getattr(x, "ragged", False) else {}
    return keras.Input(
        batch_shape=x.shape,
        dtype=x.dtype,
        sparse=x.sparse,
        name=x.name,
        **form,
    )


def inputs_like(model: Any) -> Any:
    """Makes inputs like a model's, in its structure, for another graph."""
    if isinstance(model, keras.Sequential):
        return input_like(model.inputs[0])
    copies = {
        id(layer.output): layer.from_config(layer.get_config()).output
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(lambda x: copies[id(x)], model.input)


def input_of(model: Any) -> Any:
    """Returns a model's inputs in its own structure."""
    is_one = isinstance(model, keras.Sequential)
    return model.inputs[0] if is_one else model.input


def can_read(model: Any) -> bool:
    """Says whether a model's calls can be known; not if it is subclassed."""
    if not is_graph(model) or _has_own_call(model):
        return False
    return not isinstance(model, keras.Sequential) or bool(
        getattr(model, "inputs", None)
    )


def open_spec(model: Any, x: Any) -> Any:
    """Makes the specs of inputs like x, with any number of rows.

    Sizes are open too where a readable model takes any, for sequences and
    images that differ from call to call. A model that keeps state of each row
    from call to call has a number of rows, its own or that of x.
    """
    has_rows = is_stateful(model)

    def spec(leaf: Any, key: Any) -> Any:
        if leaf is None:
            return None
        sizes = [
            None if known is None else found
            for found, known in zip(leaf.shape, key.shape, strict=True)
        ]
        rows = (key.shape[0] or leaf.shape[0]) if has_rows else None
        return forms.spec(leaf, [rows, *sizes[1:]])

    like = x
    if can_read(model) and same_structure(input_of(model), x):
        like = input_of(model)
        pairs = zip(
            keras.tree.flatten(x), keras.tree.flatten(like), strict=True
        )
        if any(
            leaf is not None and len(leaf.shape) != len(key.shape)
            for leaf, key in pairs
        ):
            like = x
    return keras.tree.map_structure(spec, x, like)


def layers_of(model: Any) -> list[Any]:
    """Lists the layers of a model, and of the models in it."""
    found: list[Any] = []
    for layer in getattr(model, "layers", []):
        found += [layer, *layers_of(layer)]
    return found


def attributes(layer: Any, cls: type) -> dict[str, Any]:
    """Finds the attributes of a layer that are of a class, by name."""
    return {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, cls)
    }


def is_noise(variable: keras.Variable) -> bool:
    """Says whether a variable is the state of a layer's random numbers.

    The layer has marked it by an attribute of this name.
    """
    return hasattr(variable, "is_noise")


def size(shape: Iterable[int | None], unknown: int) -> int:
    """Computes the number of elements, given that along unknown axes."""
    sizes = list(shape)
    known = math.prod(n for n in sizes if n is not None)
    return known * (unknown if None in sizes else 1)


def is_own(op: Any) -> bool:
    """Says whether an operation, and all in it, is Keras's or this package's.

    Models, and functions as layers, may join the rows of a batch in their own
    ways, so they do not count as such.
    """
    return is_known(op) and not any(
        isinstance(part, _HOLDERS) for part in parts_of(op)
    )


def is_known(op: Any) -> bool:
    """Says whether an operation runs only Keras's or this package's code.

    This holds if the classes of all layers in it are, and also the functions
    that they were given, such as activations; these may be TensorFlow's too.
    """
    return all(
        _is_from(type(part), "keras", "tfpbnn")
        and all(
            _is_from(value, "keras", "tfpbnn", "tensorflow")
            for name, value in vars(part).items()
            if callable(value)
            and not isinstance(value, keras.layers.Layer)
            and not name.endswith(_NOT_CALLED)
        )
        for part in parts_of(op)
    )


def is_ours(op: Any) -> bool:
    """Says whether an operation's class is Keras's, or this package's."""
    return _is_from(type(op), "keras", "tfpbnn")


def _is_from(code: Any, *packages: str) -> bool:
    """Says whether code is a package's, and no random function."""
    module = getattr(code, "__module__", None) or ""
    is_random = ".random." in module or "random_ops" in module
    return module.split(".")[0] in packages and not is_random


def parts_of(op: Any) -> list[Any]:
    """Lists an operation, and all layers that it holds.

    For a posterior these include the layers of its networks, which Keras need
    not know.
    """
    if not isinstance(op, keras.layers.Layer):
        return [op]
    parts = [op, *held_layers(op)]
    networks = [
        network
        for part in parts
        if isinstance(part, Posterior)
        for network in part.templates()
    ]
    return parts + [part for network in networks for part in parts_of(network)]


def is_stateful(op: Any) -> bool:
    """Says whether a layer of Keras's keeps state from one call to the next."""
    return any(getattr(part, "stateful", False) for part in parts_of(op))


def same_structure(expected: Any, *args: Any) -> bool:
    """Says whether arguments are lists, tuples and dicts of the same form."""
    try:
        keras.tree.assert_same_structure(expected, *args)
    except (TypeError, ValueError):
        return False
    return True
