"""A model's outputs for draws of its weights, compiled once."""

import abc
import functools
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import data, forms
from tfpbnn.base.types import Tensor
from tfpbnn.particles.costs import Costs
from tfpbnn.particles.ways import MEAN, Draws, Way

_KEY = tf.TensorSpec([2], tf.int64)
_INDEX = tf.TensorSpec([], tf.int64)
_ROWS = tf.TensorSpec([None], tf.int64)
# Held while anything is traced: Keras's layers keep state then, and functions
# that are compiled are kept. Threads that predict share both.
TRACING = threading.RLock()


class DrawFunction(abc.ABC):
    """Outputs for draws of a posterior, compiled for one kind of x.

    A draw depends on the key and its own index alone and, if it is by row, on
    the row's index: it is the same in whichever way it is made.

    Attributes:
        num_random_layers: how many layers draw; of a model whose calls can't
            be read, known after a call.
        num_draws: how many draws there are; None if there is no end.
        has_mean: whether one network stands for all.
        num_means: how many networks do, if draws have no end: one at the
            posterior means, or each member of an ensemble at its own.
    """

    num_random_layers = 0
    num_draws: int | None = None
    has_mean = True
    num_means = 1

    def __init__(self, inputs: Any, antithetic: bool):
        """Compiles nothing yet.

        Args:
            inputs: TensorSpecs, in the structure of x.
            antithetic: whether draws come in pairs with opposite noise.
        """
        self._inputs = inputs
        self._antithetic = antithetic
        self._functions: dict[Way, Any] = {}

    @abc.abstractmethod
    def costs(self, x: Any) -> Costs:
        """What draws cost, counted, for inputs like x."""

    @abc.abstractmethod
    def trace(
        self,
        way: Way,
        x: Any,
        key: Tensor,
        start: Tensor,
        stop: Tensor,
        rows: Tensor | None = None,
    ) -> Any:
        """The outputs of draws as a graph, with no function around it.

        Args:
            way: how draws are made; not those of the means.
            x: inputs, B rows.
            key: that of all draws, `[2]`; of marginal draws it may be `[B, 2]`,
                one for each row.
            start: the index of the first draw.
            stop: one past the index of the last.
            rows: the indices of the rows, `[B]`, for draws that are by row;
                `[1]` for marginal draws that all rows share.

        Returns:
            `[stop - start, B, ...]`.
        """

    @abc.abstractmethod
    def trace_one(self, x: Any, key: Tensor, index: Tensor) -> Any:
        """The outputs `[B, ...]` of the coherent draw of an index, likewise."""

    @abc.abstractmethod
    def trace_mean(self, x: Any) -> Any:
        """Outputs at the posterior means, `[num_means, B, ...]`, likewise."""

    def draws(
        self,
        x: Any,
        key: Tensor,
        start: int,
        stop: int,
        draws: Draws = Draws.COHERENT,
        first_row: int = 0,
    ) -> Any:
        """Outputs of the draws from `start` to `stop`.

        They are made in the way that takes least.

        Args:
            x: inputs, B rows.
            key: that of all draws.
            start: the index of the first draw.
            stop: one past the index of the last.
            draws: what is drawn; see `Costs.works` for what the model allows.
            first_row: the index of x's first row, for draws that are by row.

        Returns:
            `[stop - start, B, ...]`.
        """
        rows = data.length(x)
        arguments = [forms.present(x), key, start, stop]
        if draws.is_by_row:
            stop_row = first_row + rows
            arguments.append(tf.range(first_row, stop_row, dtype=tf.int64))
        way = self.costs(x).way(draws, rows)
        return _to_numpy(self.compiled(way)(*arguments))

    def mean(self, x: Any) -> Any:
        """Outputs at the posterior means, `[num_means, B, ...]`."""
        return _to_numpy(self.compiled(MEAN)(forms.present(x)))

    def compiled(self, way: Way) -> Any:
        """The function of a way, made when first asked for.

        It takes the arguments of `trace` after the way, or of `trace_mean`,
        with x as `forms.present` gives it.
        """
        if way not in self._functions:
            with TRACING:
                if way not in self._functions:
                    self._functions[way] = self._compile(way)
        return self._functions[way]

    def _compile(self, way: Way) -> Any:
        signature = [forms.present(self._inputs)]
        trace: Callable[..., Any] = self.trace_mean
        if way.draws is not Draws.MEAN:
            trace = functools.partial(self.trace, way)
            signature += [_KEY, _INDEX, _INDEX]
        if way.draws.is_by_row:
            signature.append(_ROWS)
        function = tf.function(
            lambda x, *others: trace(forms.restored(x, self._inputs), *others),
            input_signature=signature,
            autograph=False,
        )
        function.get_concrete_function()  # traces it
        return function

    def _scope(
        self,
        key: Tensor,
        indices: Tensor,
        rows: Tensor | None = None,
        known: dict[int, Any] | None = None,
    ) -> random.DrawScope:
        """The scope of a draw, or of stacked draws, of these indices."""
        pairs = indices // 2 if self._antithetic else indices
        signs = 1 - 2 * (indices % 2) if self._antithetic else None
        if len(key.shape) == 2:  # one for each row
            pairs = pairs[:, tf.newaxis]
        keys = random.fold(key, pairs)
        return random.DrawScope(keys, rows, signs, known, indices)


def wide(model: keras.Model) -> tf.DType:
    """The type of a model's outputs: at least float32."""
    return tf.float64 if model.compute_dtype == "float64" else tf.float32


def looped(
    run: Callable[[Tensor], Any],
    start: Tensor,
    stop: Tensor,
    output_types: Any,
) -> Any:
    """What `run` gives for each index, in a loop in the graph."""
    # Two at a time: the noise of one hides behind the products of another.
    return tf.map_fn(
        run,
        tf.range(start, stop),
        parallel_iterations=2,
        fn_output_signature=output_types,
    )


def over_means(
    run: Callable[[random.DrawScope], Any], num_means: int, output_types: Any
) -> Any:
    """What `run` gives in the scope of each mean, `[num_means, B, ...]`."""

    def at(index: Tensor) -> Any:
        return run(random.DrawScope(None, indices=index))

    if num_means == 1:  # no loop, which exports would keep
        outputs = at(tf.constant(0, tf.int64))
        return keras.tree.map_structure(lambda y: y[tf.newaxis], outputs)
    indices = tf.range(num_means, dtype=tf.int64)
    return tf.map_fn(at, indices, fn_output_signature=output_types)


def _to_numpy(outputs: Any) -> Any:
    # Unlike `numpy()`, which copies.
    return keras.tree.map_structure(np.asarray, outputs)
