"""Reads Keras's private attributes, each in one place.

Each function says which public way was tried and why it does not do, and has
its test in `tests/base/test_keras_private.py`, which names the version of Keras
that changed it. No other file may name one of these attributes, and nothing of
an object of the user's is ever replaced.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

# The class of `keras.Model(inputs, outputs)`. Keras exports no name for it, and
# `keras.Model` is also the base of models that have no graph to be read.
FUNCTIONAL: Any = type(keras.Model.__new__(keras.Model, None, None))

# The method by which Keras's attention layers weight the values, with dropout
# between. A stand-in for a layer brings its own. The scores can be had in
# public, by `return_attention_scores=True`, but what a subclass's `call` does
# with the weighted values would be lost.
APPLY_SCORES = "_apply_scores"


def held_layers(layer: Any, *, recursive: bool = True) -> list[Any]:
    """Lists the layers that a layer holds, in Keras's order.

    Only models have the public `layers`, which leaves out what a layer such as
    `Bidirectional` or a user's own holds.

    Args:
        layer: any layer or model.
        recursive: whether to go into the held ones too.
    """
    return list(layer._flatten_layers(include_self=False, recursive=recursive))


def settings_of(part: Any) -> dict[str, Any]:
    """Returns a layer's attributes, but for Keras's note that it was called.

    The public `vars` has it among the others, and nothing tells it from them.
    """
    return {n: value for n, value in vars(part).items() if n != "_called"}


def mask_of(tensor: Any) -> Any:
    """Returns the mask that Keras attached to a tensor; None if there is none.

    `compute_mask` of the layer that made the tensor is public, but a tensor
    does not say in public which layer that was, nor has the layer its inputs.
    """
    return getattr(tensor, "_keras_mask", None)


def with_mask(tensor: Any, mask: Any) -> Any:
    """Attaches a mask to a tensor; None leaves it as it is.

    A layer whose `compute_mask` returns the mask would do so in public, but
    calls of layers cast, name and trace what they are given.
    """
    if mask is not None:
        tensor._keras_mask = mask
    return tensor


def is_seed_state(variable: Any) -> bool:
    """Says whether a variable is the state of a `keras.random.SeedGenerator`.

    A layer's public `variables` has the states of its own generators, which are
    not among its `weights`, but not that of the one that `keras.random` takes
    when no seed is given.
    """
    return variable.name == "seed_generator_state"


def compile_arguments(model: Any) -> Mapping[str, Any]:
    """Returns the objects that `compile` was given, by the argument's name.

    `get_compile_config` is public, but holds configs, which cannot be made
    objects again where classes of the user's are not registered.
    """
    return model._compile_config.config


def is_called_by_fit(evaluate_kwargs: Mapping[str, Any]) -> bool:
    """Says whether `fit` called `evaluate`, with data that it keeps.

    A callback hears in public that a test begins, but not on which data.
    """
    return bool(evaluate_kwargs.get("_use_cached_eval_dataset"))


def loss_tracker(model: Any) -> Any:
    """Returns the metric that a compiled model reports as `loss`.

    The public `metrics` begins with it, unless a user's model has a `metrics`
    of its own, as Keras's guides write them.
    """
    return model._loss_tracker


def loss_of_outputs(model: Any, y: Any, y_pred: Any, weights: Any) -> Any:
    """Computes the loss of a compiled model's outputs, without layers' losses.

    The public `compute_loss` adds the losses of the layers each time that it
    is called, which is too often where a step takes the mean of several.
    """
    return model._compile_loss(y, y_pred, weights)


def exchange_losses(model: Any, exchanged: Callable[[Any], Any]) -> bool:
    """Puts other losses in the place of a compiled model's, for its steps.

    The public way is to compile with other losses, but then they would be the
    model's `loss`, and be saved with it.

    Args:
        model: a compiled model, whose `loss` stays as it is.
        exchanged: a function that returns what is called in a loss's place.

    Returns:
        Whether the losses are there: Keras makes them of their names when it
        first computes a loss.
    """
    losses = model._compile_loss
    if losses is None:
        return True
    if not losses.built:
        return False
    losses._flat_losses = [
        type(each)(
            each.path, exchanged(each.loss), each.loss_weights, each.name
        )
        for each in losses._flat_losses
    ]
    return True


def summed(loss: Any, call: Callable[[Any, Any], Any]) -> Any:
    """Returns a loss like another, which sums up what `call` returns.

    A subclass would do so in public, but not of any loss, since its
    constructor may ask for arguments that the loss does not tell.

    Args:
        loss: a Keras loss, which stays as it is.
        call: the values of rows and places, of targets and outputs.
    """
    new = object.__new__(type(loss))  # a copy would go by way of a config
    vars(new).update(vars(loss) | {"reduction": "sum", "call": call})
    return new


def clipped(optimizer: Any, gradients: list[Any]) -> list[Any]:
    """Clips gradients as an optimizer does before its step.

    The public `apply` does the step at once.
    """
    return list(optimizer._clip_gradients(gradients))


def begin_at_epoch(model: Any, epoch: int | None) -> None:
    """Makes the `fit` that has called a callback begin at another epoch.

    The public `initial_epoch` is an argument of `fit`, which was called
    before; Keras's own `BackupAndRestore` sets the attribute too.
    """
    model._initial_epoch = epoch


class StepsOfReplicas:
    """A mixin for Keras models that train on several replicas or workers.

    In public a step is all that can be written by oneself. What Keras does
    before the first one, and with what steps return, fails where batches don't
    divide by the number of replicas, and where there are several workers.
    """

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        """Builds the model by the shapes of one replica's rows.

        Keras reads a batch, which a generator does not give again, and takes
        its mean over replicas, where rows may be of several sizes, or on other
        machines.
        """
        strategy = self._distribute_strategy  # type: ignore[attr-defined]
        if iterator is not None and strategy is not None:
            data_batch = keras.tree.map_structure(
                _spec_of_replica, iterator._get_iterator().element_spec
            )
        super()._maybe_symbolic_build(data_batch=data_batch)  # type: ignore[misc]

    def _make_function(self, step_function: Callable[[Any], Any]) -> Any:
        """Gives what steps return an axis, over which workers take the mean.

        Keras reduces it along the first axis where there are several workers,
        which scalars don't have.
        """

        def step(data: Any) -> Any:
            return self.returned(step_function(data))  # type: ignore[attr-defined]

        return super()._make_function(step)  # type: ignore[misc]


def _spec_of_replica(spec: Any) -> Any:
    """Returns the first replica's shape and dtype; None for what is missing."""
    first = getattr(spec, "_value_specs", (spec,))[0]
    return None if isinstance(first, tf.OptionalSpec) else first


def slot_index(optimizer: Any, variable: Any) -> int | None:
    """Returns the place of a variable among those that an optimizer trains.

    Keras's guides on optimizers name the private method too: `update_step` is
    given a variable, and the public `variables` are the optimizer's own.

    Args:
        optimizer: any optimizer.
        variable: a variable of Keras's, or TensorFlow's within it.

    Returns:
        None if the optimizer does not train the variable.
    """
    try:
        return optimizer._get_variable_index(variable)
    except (AttributeError, KeyError):
        return None


def trained_variables(optimizer: Any) -> list[Any]:
    """Lists the variables that an optimizer was built for.

    `apply` without variables takes them; the public `variables` are the
    optimizer's own.
    """
    return list(optimizer._trainable_variables)


def adam_moments(optimizer: Any, variable: Any) -> tuple[Any, Any] | None:
    """Returns the first and second moments that Adam keeps for a variable.

    The public `variables` holds them too, but their order differs between
    versions of Keras, and their names are those of paths, which two variables
    may share.

    Args:
        optimizer: a built Adam.
        variable: a variable that it trains.

    Returns:
        None if the optimizer has none, or not of the variable's shape.
    """
    try:
        index = slot_index(optimizer, variable)
        found = optimizer._momentums[index], optimizer._velocities[index]
    except (AttributeError, IndexError, TypeError):
        return None
    shapes = [getattr(moment, "shape", None) for moment in found]
    return found if shapes == [variable.shape] * 2 else None


def nodes_by_depth(
    model: Any, exchanged: Callable[[Any], Any]
) -> dict[str, Any]:
    """Finds the calls that a Functional model makes, with other layers in them.

    `keras.models.clone_model` is public, and would put other layers into the
    calls, but it leaves traces in all layers that it calls.

    Args:
        model: a Functional model, which stays as it is.
        exchanged: a function that returns the layer to call in a layer's place.

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


def lambda_arguments(layer: keras.layers.Lambda) -> dict[str, Any]:
    """Returns the arguments that a `Lambda` was made with, functions as such.

    The public `get_config` has functions as bytecode, which has lost the
    modules that the functions name.
    """
    return {
        "function": layer.function,
        "output_shape": layer._output_shape,
        "mask": layer.mask,
        "arguments": layer.arguments,
        "name": layer.name,
        "dtype": layer.dtype_policy,
        "trainable": layer.trainable,
    }


class _Known(dict):
    """A dict that takes no new keys, and keeps the values that it has."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


_OBJECTS = "shared_objects/id_to_obj_map"
_CONFIGS = "shared_objects/id_to_config_map"


@contextlib.contextmanager
def sharing(layers: Iterable[Any], copies: dict[int, Any]) -> Iterator[None]:
    """Makes configs tell layers from one another, as in a saved file.

    A config that is made inside of this context says which one each layer is,
    wherever a layer holds another. A config that is read inside of it makes
    each layer once. Keras does so in `save` and `load_model`, but in public not
    for a config in memory, whose layers are made anew at each place.

    Args:
        layers: the layers that configs may be made of, which must stay alive.
        copies: the copies to take for layers, by the ids of these. Copies of
            other layers are added to it.
    """
    # Others than the layers may be gone before the next one gets their id.
    values = {
        _OBJECTS: copies,
        _CONFIGS: _Known({id(layer): {} for layer in layers}),
    }
    before = {name: _state().get_global_attribute(name) for name in values}
    try:
        for name, value in values.items():
            _state().set_global_attribute(name, value)
        yield
    finally:
        for name, value in before.items():
            _state().set_global_attribute(name, value)


def tell_apart(layers: Iterable[Any]) -> None:
    """Makes a config that is being saved tell layers from one another.

    Keras says so from the second place on at which it finds a layer, and adds
    it to the config of the first; but not where that is in the config of a
    wrapper, of which it has made a copy.
    """
    configs = _state().get_global_attribute(_CONFIGS)
    for layer in layers if configs is not None else ():
        configs.setdefault(id(layer), {})


def _state() -> Any:
    """Returns the module in which Keras keeps the state of a thread."""
    module: Any = inspect.getmodule(keras.saving.serialize_keras_object)
    return module.global_state
