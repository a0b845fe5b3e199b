"""Runs a Keras model for many draws of its weights."""

import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.types import Array, Tensor

_compiled: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()


class DrawFunction:
    """A model's outputs for draws of its weights, compiled for one kind of x.

    Each draw is one function: a random layer has the same kernel for all rows,
    taken from the key and the number of the draw. So results don't depend on
    how rows and draws are split into calls.

    Attributes:
        num_random_layers: how many layers have drawn; known after a call.
    """

    def __init__(self, model: keras.Model, x: Any):
        # The function is kept with the model: it must not keep the model alive.
        self._model = weakref.ref(model)
        self.num_random_layers = 0
        scalar = tf.TensorSpec([], tf.int64)
        inputs = keras.tree.map_structure(_any_number_of_rows, x)
        self._draws = tf.function(
            self._trace_draws,
            input_signature=[
                inputs,
                tf.TensorSpec([2], tf.int64),
                scalar,
                scalar,
            ],
            autograph=False,
        )
        self._mean = tf.function(
            self._trace_mean, input_signature=[inputs], autograph=False
        )

    def draws(self, x: Any, key: Tensor, start: int, stop: int) -> Array:
        """Outputs of the draws `start` to `stop`, `[stop - start, B, ...]`."""
        return self._draws(x, key, start, stop).numpy()

    def mean(self, x: Any) -> Array:
        """Outputs at the posterior means, `[1, B, ...]`."""
        return self._mean(x)[tf.newaxis].numpy()

    def _run(self, x: Any, key: Tensor | None) -> Tensor:
        model = self._model()
        assert model is not None
        with random.draw_scope(key) as scope:
            outputs = model(x, training=False)
        self.num_random_layers = scope.num_layers
        if not tf.is_tensor(outputs):
            raise ValueError(
                "`model` must have one output. Received: "
                f"{len(keras.tree.flatten(outputs))} outputs. Predict with a "
                "model of one of them: keras.Model(model.inputs, "
                "model.outputs[0])"
            )
        is_double = model.compute_dtype == "float64"
        return tf.cast(outputs, tf.float64 if is_double else tf.float32)

    def _trace_mean(self, x: Any) -> Tensor:
        return self._run(x, None)

    def _trace_draws(
        self, x: Any, key: Tensor, start: Tensor, stop: Tensor
    ) -> Tensor:
        def draw(number: Tensor) -> Tensor:
            return self._run(x, random.fold(key, number))

        is_double = self._model().compute_dtype == "float64"  # type: ignore[union-attr]
        # Two at a time: the noise of one hides behind the products of another.
        return tf.map_fn(
            draw,
            tf.range(start, stop),
            parallel_iterations=2,
            fn_output_signature=tf.float64 if is_double else tf.float32,
        )


def draw_function(model: keras.Model, x: Any) -> DrawFunction:
    """The model's `DrawFunction` for inputs like x, made once.

    A model that was rebuilt (layers added or exchanged) gets a new one.
    """
    specs = keras.tree.map_structure(_any_number_of_rows, x)
    identity = (
        tuple(id(variable) for variable in model.variables),
        keras.tree.map_structure(repr, specs),
    )
    key = repr(identity)
    functions = _compiled.setdefault(model, {})
    if key not in functions:
        functions.clear()  # The old ones hold on to compiled graphs.
        functions[key] = DrawFunction(model, x)
    return functions[key]


def _any_number_of_rows(leaf: Any) -> tf.TensorSpec:
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)


def random_states(model: keras.Model) -> list[Array]:
    """The states of the model's own seed generators (of Dropout and the like).

    They are what Keras counts among the variables but not the weights.
    """
    weights = {id(variable) for variable in model.weights}
    return [
        np.array(variable.numpy())  # a copy: `numpy()` may share the memory
        for variable in model.variables
        if id(variable) not in weights
    ]
