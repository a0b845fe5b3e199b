"""Runs a model with many sets of weights: of ensembles, chains, snapshots."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data
from tfpbnn.base.kept import kept_with
from tfpbnn.base.types import Tensor
from tfpbnn.networks import missing
from tfpbnn.networks.reading import layers_of
from tfpbnn.particles.functions import TRACING

_BATCH_SIZE = 1024


def stack_predict(
    model: keras.Model,
    stacked_variables: Sequence[Any] | Mapping[str, Any],
    x: Any,
    batch_size: int | None = None,
) -> Any:
    """Computes a model's outputs for each of S sets of its variables' values.

    The function is compiled once for a model. Other variables have the model's
    values. Variational layers draw their kernels for each set, so stacks are
    meant for plain layers.

    Args:
        model: a built Keras model.
        stacked_variables: arrays `[S, *shape]`: a list with one for each of
            `model.trainable_variables`, or a dict by path (`"dense/kernel"`)
            for any of `model.variables`.
        x: the inputs: an array, a tensor, or a list or dict of these, N rows.
        batch_size: the number of rows in a batch; None for 1024.

    Returns:
        The outputs `[S, N, ...]`, in the structure of the model's outputs.

    Raises:
        ValueError: if a path is unknown, or an array does not have its
            variable's shape behind its first axis, or as many sets as the
            others.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    stacks = [keras.ops.stack([v, 2 * v]) for v in model.get_weights()]
    y = tfpbnn.particles.stack_predict(model, stacks, keras.ops.ones((5, 4)))
    y.shape                                                     # (2, 5, 2)
    ```
    """
    variables, stacks = _matched(model, stacked_variables)
    x = data.as_arrays("x", x, is_finite=False)
    missing.check_inputs(model, x)
    function = _function(model, variables, x)
    parts = [
        function(batch, stacks)
        for batch, _ in data.batches(x, batch_size or _BATCH_SIZE)
    ]
    return keras.tree.map_structure(
        lambda *leaves: np.concatenate(leaves, axis=1), *parts
    )


def _matched(
    model: keras.Model, stacked: Sequence[Any] | Mapping[str, Any]
) -> tuple[list[keras.Variable], list[Tensor]]:
    """Returns the variables, and their stacks as tensors of their dtypes."""
    if isinstance(stacked, Mapping):
        known = {v.path: v for v in model.variables}
        if unknown := set(stacked) - set(known):
            raise ValueError(
                "`stacked_variables` must have paths of the model's variables. "
                f"Received: {sorted(unknown)}. Known: {sorted(known)}"
            )
        variables = [known[path] for path in stacked]
        values = list(stacked.values())
    else:
        variables, values = model.trainable_variables, list(stacked)
    if len(values) != len(variables):
        raise ValueError(
            f"`stacked_variables` must have an array for each of the model's "
            f"{len(variables)} trainable variables. Received: {len(values)}"
        )
    stacks = [
        tf.convert_to_tensor(np.asarray(value), v.dtype)
        for v, value in zip(variables, values, strict=True)
    ]
    sizes = {stack.shape[0] if len(stack.shape) else 0 for stack in stacks}
    for v, stack in zip(variables, stacks, strict=True):
        if stack.shape[1:] != v.shape or len(sizes) != 1:
            raise ValueError(
                f"`stacked_variables` must have shape [S, *{tuple(v.shape)}] "
                f"for {v.path}, with the same S for all. Received: shape "
                f"{tuple(stack.shape)}, and first axes {sorted(sizes)}"
            )
    return variables, stacks


def _function(
    model: keras.Model, variables: list[keras.Variable], x: Any
) -> Any:
    """Returns the compiled function for these variables and inputs like x."""
    specs = keras.tree.map_structure(
        lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), x
    )
    parts = [id(part) for part in (*layers_of(model), *variables)]
    key = repr((parts, specs))
    with TRACING:
        functions = kept_with(model, "stacks")
        if key not in functions:
            functions[key] = _compile(weakref.ref(model), variables, specs)
        return functions[key]


def _compile(
    model_of: Callable[[], Any], variables: list[keras.Variable], specs: Any
) -> Callable[..., Any]:
    def run(x: Any, stacks: list[Tensor]) -> Any:
        def one(values: list[Tensor]) -> Any:
            pairs = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=pairs):
                return model_of()(x, training=False)

        outputs = model_of().compute_output_spec(
            keras.tree.map_structure(
                lambda t: keras.KerasTensor(t.shape, t.dtype.name), x
            )
        )
        types = keras.tree.map_structure(
            lambda y: tf.as_dtype(y.dtype), outputs
        )
        return tf.map_fn(
            one, stacks, parallel_iterations=2, fn_output_signature=types
        )

    stack_specs = [tf.TensorSpec([None, *v.shape], v.dtype) for v in variables]
    compiled = tf.function(
        run, input_signature=[specs, stack_specs], autograph=False
    )
    compiled.get_concrete_function()  # traces it
    return lambda x, stacks: keras.tree.map_structure(
        lambda y: y.numpy(), compiled(x, stacks)
    )
