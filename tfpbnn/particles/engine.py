"""Runs a model for many draws of its weights, compiled once."""

import functools
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.layers.base import VariationalLayer
from tfpbnn.particles.costs import Costs, count
from tfpbnn.particles.graph import Graph, can_read, layers_of, open_spec
from tfpbnn.types import Array, Tensor

_compiled: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()
_NUMBER = tf.TensorSpec([], tf.int64)
_KEY = tf.TensorSpec([2], tf.int64)
# A function of the inputs and of these, by kind.
_SIGNATURES: dict[str, list[Any]] = {
    "mean": [],
    "loop": [_KEY, _NUMBER, _NUMBER],
    "stack": [_KEY, _NUMBER, _NUMBER],
    "apart": [_KEY, _NUMBER, _NUMBER, tf.TensorSpec([None], tf.int64)],
}


class DrawFunction:
    """A model's outputs for draws of its weights, compiled for one kind of x.

    What no random layer has touched is computed once for all draws. From there
    on, draws go through the network one by one, in a loop in the graph, or all
    at once, `[S * B, ...]`, where operations are so small that the loop would
    take longer than its work. The numbers are the same either way: a draw
    depends on the key and on its own number and, with `apart`, on the row's.

    Attributes:
        num_random_layers: how many layers draw; of a model whose calls can't
            be read, known after a call.
    """

    def __init__(self, model: keras.Model, x: Any, antithetic: bool):
        # The function is kept with the model: it must not keep the model alive.
        self._model = weakref.ref(model)
        self._antithetic = antithetic
        self._graph = Graph(model) if can_read(model) else None
        self._costs: dict[tuple[Any, ...], Costs] = {}
        self.num_random_layers = (
            len(self._graph.random_calls) if self._graph else 0
        )
        self._inputs = open_spec(model, x)
        self._functions: dict[str, Any] = {}

    def costs(self, x: Any) -> Costs:
        """What draws cost, counted, for inputs like x."""
        shapes = tuple(tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(x))
        if shapes not in self._costs:
            self._costs[shapes] = count(self._graph, x)
        return self._costs[shapes]

    def draws(self, x: Any, key: Tensor, start: int, stop: int) -> Any:
        """Outputs of the draws `start` to `stop`, `[stop - start, B, ...]`.

        The same weights for every row.
        """
        rows = len(keras.tree.flatten(x)[0])
        kind = "stack" if self.costs(x).stacking_pays(rows) else "loop"
        return _to_numpy(self.compiled(kind)(x, key, start, stop))

    def draws_apart(
        self, x: Any, key: Tensor, start: int, stop: int, first_row: int
    ) -> Any:
        """Likewise, with draws of its own for each row.

        Args:
            x: inputs, B rows.
            key: of all draws.
            start: the number of the first draw.
            stop: one past the number of the last.
            first_row: the number of x's first row.
        """
        rows = len(keras.tree.flatten(x)[0])
        numbers = tf.range(first_row, first_row + rows, dtype=tf.int64)
        return _to_numpy(self.compiled("apart")(x, key, start, stop, numbers))

    def mean(self, x: Any) -> Any:
        """Outputs at the posterior means, `[1, B, ...]`."""
        return _to_numpy(self.compiled("mean")(x))

    def compiled(self, kind: str) -> Any:
        """The function of a kind, made when first asked for."""
        if kind not in self._functions:
            self._functions[kind] = tf.function(
                functools.partial(self._trace, kind),
                input_signature=[self._inputs, *_SIGNATURES[kind]],
                autograph=False,
            )
        return self._functions[kind]

    def _trace(self, kind: str, x: Any, *arguments: Tensor) -> Any:
        model = self._model()
        assert model is not None
        after = self._start(model, x)
        if kind == "mean":
            outputs = after(random.DrawScope(None))
            return keras.tree.map_structure(lambda y: y[tf.newaxis], outputs)
        key, start, stop, *more = arguments
        known = self._before_draws()
        if kind == "loop":
            types = self._output_types(model, x)
            return self._loop(after, key, start, stop, known, types)
        keys, signs = self._keys(key, tf.range(start, stop))
        (rows,) = more or (None,)
        scope = random.DrawScope(keys, rows, signs, known)

        def unstack(y: Tensor) -> Tensor:
            shape = tf.concat([[stop - start, -1], tf.shape(y)[1:]], 0)
            return tf.reshape(y, tf.cast(shape, tf.int32))

        return keras.tree.map_structure(unstack, after(scope))

    def _start(
        self, model: keras.Model, x: Any
    ) -> Callable[[random.DrawScope], Any]:
        """The rest of the network, after what all draws have in common."""
        graph, wide = self._graph, _wide(model)
        tensors = None if graph is None else graph.before(x)

        def after(scope: random.DrawScope) -> Any:
            with random.entered(scope):
                if graph is None or tensors is None:
                    outputs = model(x, training=False)
                    self.num_random_layers = scope.num_layers
                else:
                    outputs = graph.after(tensors, scope)
            return keras.tree.map_structure(lambda y: tf.cast(y, wide), outputs)

        return after

    def _loop(
        self,
        after: Callable[[random.DrawScope], Any],
        key: Tensor,
        start: Tensor,
        stop: Tensor,
        known: dict[int, Any],
        types: Any,
    ) -> Any:
        def draw(number: Tensor) -> Any:
            own_key, sign = self._keys(key, number)
            return after(random.DrawScope(own_key, signs=sign, known=known))

        # Two at a time: the noise of one hides behind the products of another.
        return tf.map_fn(
            draw,
            tf.range(start, stop),
            parallel_iterations=2,
            fn_output_signature=types,
        )

    def _output_types(self, model: keras.Model, x: Any) -> Any:
        if self._graph is not None:
            outputs = self._graph.outputs
        else:
            outputs = model.compute_output_spec(
                keras.tree.map_structure(
                    lambda t: keras.KerasTensor(t.shape, t.dtype.name), x
                )
            )
        return keras.tree.map_structure(lambda _: _wide(model), outputs)

    def _keys(self, key: Tensor, numbers: Tensor) -> tuple[Tensor, Any]:
        """The draws' keys, and the signs of their noise."""
        if not self._antithetic:
            return random.fold(key, numbers), None
        return random.fold(key, numbers // 2), 1 - 2 * (numbers % 2)

    def _before_draws(self) -> dict[int, Any]:
        """What draws of a posterior have in common, by its id."""
        calls = self._graph.random_calls if self._graph else []
        posteriors = [
            posterior
            for call in calls
            if isinstance(call.op, VariationalLayer)
            for posterior in call.op.posteriors
        ]
        return {id(p): p.before_draws() for p in posteriors}


def draw_function(
    model: keras.Model, x: Any, antithetic: bool = False
) -> DrawFunction:
    """The model's `DrawFunction` for inputs like x, made once.

    A model that was rebuilt (layers added or exchanged) gets a new one.
    """
    parts = [id(part) for part in (*layers_of(model), *model.variables)]
    functions = _compiled.setdefault(model, {})
    if functions.get("parts") != parts:
        functions.clear()  # They hold on to compiled graphs.
        functions["parts"] = parts
    specs = keras.tree.map_structure(repr, open_spec(model, x))
    key = repr((specs, antithetic))
    if key not in functions:
        functions[key] = DrawFunction(model, x, antithetic)
    return functions[key]


def _wide(model: keras.Model) -> tf.DType:
    """The type of a model's outputs: at least float32."""
    return tf.float64 if model.compute_dtype == "float64" else tf.float32


def _to_numpy(outputs: Any) -> Any:
    return keras.tree.map_structure(lambda y: y.numpy(), outputs)


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
