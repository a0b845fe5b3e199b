"""Converts models of Keras 2 and tfp.layers to ours."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.convert.legacy import tfp_layers
from tfpbnn.convert.legacy.tfp_layers import Plan, Unmappable
from tfpbnn.training import models

_TFP = {
    f"{op}{estimator}"
    for op in ("Dense", "Conv1D", "Conv2D", "Conv3D")
    for estimator in ("Flipout", "Reparameterization")
} | {"DenseLocalReparameterization"}
# What `+` and the like of tensors are in the graph of a Keras 2 model.
_OPERATIONS = {
    f"{module}.{ours}": getattr(keras.ops, ours)
    for module in ("__operators__", "math")
    for ours in ("add", "subtract", "multiply")
} | {"math.truediv": keras.ops.true_divide}


def from_tfp_layers(model: Any) -> keras.Model:
    """Copies a tf_keras model of tfp.layers into Keras 3 and our layers.

    The copy has the same weights, priors and predictive distribution. Dense
    and Convolution layers keep their estimators; `DenseVariational` with
    independent Normals becomes `DenseReparameterization`; other layers become
    those of Keras 3. A callable that a layer was made with is judged by the
    distribution that it has made, so your own is converted too if that is one
    of independent Normals.

    A divergence function that is a multiple of the KL, such as `lambda q, p,
    _: kl_divergence(q, p) / n`, becomes `kl_weight`. Where the KL has no
    weight it is left to `fit` of the result. The result is not compiled.

    Args:
        model: a built Sequential or Functional model of tf_keras.

    Returns:
        A `tfpbnn.Sequential` or a `tfpbnn.Model`.

    Raises:
        TypeError: if `model` is not such a model.
        ValueError: if it is not built, or a layer can't be converted; the
            message names all that can't, and their callables.

    Example:
    ```python
    import tensorflow_probability as tfp
    import tf_keras

    old = tf_keras.Sequential([
        tfp.layers.DenseFlipout(8, activation="relu", input_shape=(4,)),
        tfp.layers.DenseFlipout(2),
    ])
    new = tfpbnn.convert.from_tfp_layers(old)
    ```
    """
    _check(model)
    plans = _plan_all(model)
    new = _rebuild(model, plans, {}, models.Sequential, models.Model)
    for plan in plans.values():
        plan.set_weights()
    return new


def _check(model: Any) -> None:
    if not _is_graph(model):
        hint = (
            " It is a Keras 3 model already: see tfpbnn.to_variational."
            if isinstance(model, keras.Model)
            else ""
        )
        raise TypeError(
            "`model` must be a Sequential or Functional model of tf_keras. "
            f"Received: model={model!r} of type {type(model).__name__}.{hint}"
        )
    if not model.built or not model.inputs:
        raise ValueError(
            "`model` must be built: call it on some data first. Received: "
            f"model={model!r}"
        )


def _is_graph(layer: Any) -> bool:
    """Says whether a layer is a model of Keras 2 that knows its graph."""
    return any(
        cls.__name__ == "Functional" and cls.__module__.startswith("tf_keras.")
        for cls in type(layer).__mro__
    )


def _is_sequential(layer: Any) -> bool:
    names = [cls.__name__ for cls in type(layer).__mro__]
    return _is_graph(layer) and "Sequential" in names


def _is_skipped(layer: Any) -> bool:
    """Says whether it is an input, or a function of `keras.ops` here."""
    name = type(layer).__name__
    return name == "InputLayer" or (
        name == "TFOpLambda" and layer.get_config()["function"] in _OPERATIONS
    )


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if _is_graph(layer):
            yield from _leaves(layer)
        elif not _is_skipped(layer):
            yield layer


def _plan_all(model: Any) -> dict[int, Plan]:
    """Plans new layers for all of a model's; one error names all that fail."""
    plans, failures = {}, []
    for layer in _leaves(model):
        try:
            if id(layer) not in plans:
                plans[id(layer)] = _planner(layer)(layer)
        except Unmappable as reason:
            failures.append(f"{layer.name} ({type(layer).__name__}): {reason}")
    if failures:
        raise ValueError(
            "`model` must have layers and callables that can be mapped. "
            "Received:\n" + "\n".join(failures)
        )
    return plans


def _planner(layer: Any) -> Callable[[Any], Plan]:
    name = type(layer).__name__
    if not type(layer).__module__.startswith("tensorflow_probability."):
        return tfp_layers.plan_plain
    if name in _TFP:
        return tfp_layers.plan_tfp
    if name == "DenseVariational":
        return tfp_layers.plan_dense_variational
    raise Unmappable(
        "a layer that makes a distribution of the outputs is a loss here, "
        "such as tfpbnn.likelihoods.Normal(). Convert the model without it: "
        "tf_keras.Model(model.input, model.layers[-2].output)"
    )


def _rebuild(
    model: Any,
    plans: dict[int, Plan],
    inner: dict[int, keras.Model],
    sequential: Any = keras.Sequential,
    functional: Any = keras.Model,
) -> keras.Model:
    """Rebuilds a model's graph with the planned layers.

    Args:
        model: a model of tf_keras.
        plans: the plans by the ids of its layers, and of those of inner models.
        inner: the inner models that have been rebuilt, by id.
        sequential: the class of the result for a Sequential.
        functional: the class of the result for other models.
    """

    def new_layer(layer: Any) -> keras.layers.Layer:
        if not _is_graph(layer):
            return plans[id(layer)].layer
        if id(layer) not in inner:
            inner[id(layer)] = _rebuild(layer, plans, inner)
        return inner[id(layer)]

    inputs = tf.nest.map_structure(
        lambda x: keras.Input(
            batch_shape=tuple(x.shape), dtype=x.dtype.name, name=_name(x)
        ),
        model.input,
    )
    if _is_sequential(model):
        new = [new_layer(layer) for layer in model.layers]
        return sequential([inputs, *new], name=model.name)
    tensors = {
        id(old): new
        for old, new in zip(
            tf.nest.flatten(model.input), tf.nest.flatten(inputs), strict=True
        )
    }
    for node in _nodes(tf.nest.flatten(model.output)):
        _run(node, new_layer, tensors)
    outputs = tf.nest.map_structure(lambda x: tensors[id(x)], model.output)
    return functional(inputs, outputs, name=model.name)


def _name(tensor: Any) -> str:
    return tensor.node.layer.name


def _nodes(outputs: list[Any]) -> list[Any]:
    """Lists the calls that lead to the outputs, each after those it needs."""
    done: dict[int, Any] = {}
    stack = [tensor.node for tensor in outputs]
    while stack:
        waiting = [n for n in stack[-1].parent_nodes if id(n) not in done]
        if waiting:
            stack += waiting
        else:
            node = stack.pop()
            done[id(node)] = node
    return list(done.values())


def _run(
    node: Any,
    new_layer: Callable[[Any], keras.layers.Layer],
    tensors: dict[int, Any],
) -> None:
    """Repeats a call with the new layer; its outputs go into `tensors`."""
    if all(id(x) in tensors for x in tf.nest.flatten(node.outputs)):
        return  # an input
    args, kwargs = tf.nest.map_structure(
        lambda x: tensors.get(id(x), x), (node.call_args, node.call_kwargs)
    )
    if type(node.layer).__name__ == "TFOpLambda":
        kwargs.pop("name", None)
        call: Any = _OPERATIONS[node.layer.get_config()["function"]]
    else:
        call = new_layer(node.layer)
        kwargs = {k: v for k, v in kwargs.items() if v is not None}
    results = tf.nest.flatten(call(*args, **kwargs))
    for old, new in zip(tf.nest.flatten(node.outputs), results, strict=True):
        tensors[id(old)] = new
