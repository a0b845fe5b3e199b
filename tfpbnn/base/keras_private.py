"""Every private attribute of Keras that this package reads, each in one place.

Each function says which public way was tried and why it does not do, and has
its test in `tests/base/test_keras_private.py`, which names the version of Keras
that changed it. No other file may name one of these attributes, and nothing of
an object of the user's is ever replaced.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras

# The class of `keras.Model(inputs, outputs)`. Keras exports no name for it, and
# `keras.Model` is also the base of models that have no graph to be read.
FUNCTIONAL: Any = type(keras.Model.__new__(keras.Model, None, None))

# The method by which Keras's attention layers weight the values, with dropout
# between. A stand-in for a layer brings its own. The scores can be had in
# public, by `return_attention_scores=True`, but what a subclass's `call` does
# with the weighted values would be lost.
APPLY_SCORES = "_apply_scores"


def held_layers(layer: Any, *, recursive: bool = True) -> list[Any]:
    """The layers that a layer holds, in Keras's order.

    The public `layers` is there for models alone, and leaves out what a layer
    such as `Bidirectional` or a user's own holds.

    Args:
        layer: any layer or model.
        recursive: whether to go into the held ones too.
    """
    return list(layer._flatten_layers(include_self=False, recursive=recursive))


def mask_of(tensor: Any) -> Any:
    """The mask that Keras hands on with a tensor; None if there is none.

    `compute_mask` of the layer that made the tensor is public, but a tensor
    does not say in public which layer that was, nor has the layer its inputs.
    """
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Gives a tensor a mask for Keras to hand on.

    A layer whose `compute_mask` returns the mask would do so in public, but
    calls of layers cast, name and trace what they are given.
    """
    tensor._keras_mask = mask


def compile_arguments(model: Any) -> Mapping[str, Any]:
    """The objects that `compile` was given, by their arguments' names.

    `get_compile_config` is public, but holds configs, which cannot be made
    objects again where classes of the user's are not registered.
    """
    return model._compile_config.config


def is_called_by_fit(evaluate_kwargs: Mapping[str, Any]) -> bool:
    """Whether `evaluate` was called by `fit`, with data that `fit` has kept.

    A callback hears in public that a test begins, but not on which data.
    """
    return bool(evaluate_kwargs.get("_use_cached_eval_dataset"))


def loss_tracker(model: Any) -> Any:
    """The metric that a compiled model reports as `loss`.

    The public `metrics` begins with it, unless a user's model has a `metrics`
    of its own, as Keras's guides write them.
    """
    return model._loss_tracker


def loss_of_outputs(model: Any, y: Any, y_pred: Any, weights: Any) -> Any:
    """The loss of a compiled model's outputs, without what layers add to it.

    The public `compute_loss` adds the losses of the layers each time that it
    is called, which is too often where a step takes the mean of several.
    """
    return model._compile_loss(y, y_pred, weights)


def adam_moments(optimizer: Any, variable: Any) -> tuple[Any, Any] | None:
    """The first and second moments that Adam keeps for a variable.

    The public `variables` holds them too, but their order differs between
    versions of Keras, and their names are those of paths, which two variables
    may share.

    Args:
        optimizer: a built Adam.
        variable: one that it trains.

    Returns:
        None if the optimizer has none, or not of the variable's shape.
    """
    try:
        index = optimizer._get_variable_index(variable)
        found = optimizer._momentums[index], optimizer._velocities[index]
    except (AttributeError, IndexError, KeyError):
        return None
    shapes = [getattr(moment, "shape", None) for moment in found]
    return found if shapes == [variable.shape] * 2 else None


def nodes_by_depth(
    model: Any, exchanged: Callable[[Any], Any]
) -> dict[str, Any]:
    """The calls that a Functional model makes, of other layers.

    `keras.models.clone_model` is public, and would put other layers into the
    calls, but it leaves traces in all layers that it calls.

    Args:
        model: a Functional model, which stays as it is.
        exchanged: gives the layer that is to be called in a layer's place.

    Returns:
        The attribute that the model's `call` walks along, by its name; the
        attribute's own value if all layers stay.
    """

    def node(old: Any) -> Any:
        operation = exchanged(old.operation)
        if operation is old.operation:
            return old
        new = object.__new__(type(old))
        vars(new).update(vars(old) | {"operation": operation})
        return new

    before = model._nodes_by_depth
    after = {depth: list(map(node, before[depth])) for depth in before}
    is_same = all(after[depth] == list(before[depth]) for depth in before)
    return {"_nodes_by_depth": before if is_same else after}
