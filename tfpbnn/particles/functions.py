"""Computes a model's outputs for draws of its weights, compiled once."""

import abc
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import data, forms
from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.types import Array, Tensor
from tfpbnn.distribute import devices
from tfpbnn.networks.calls import Graph
from tfpbnn.networks.reading import can_read
from tfpbnn.networks.stand_ins import callee
from tfpbnn.particles.costs import Costs
from tfpbnn.particles.effects import Effects
from tfpbnn.particles.state import DrawState
from tfpbnn.particles.ways import MEAN, Draws, Way

_KEY = tf.TensorSpec([2], tf.int64)
_INDEX = tf.TensorSpec([], tf.int64)
_ROWS = tf.TensorSpec([None], tf.int64)
# Held while anything is traced: Keras's layers keep state then, and functions
# that are compiled are kept. Threads that predict share both.
TRACING = threading.RLock()


class DrawFunction(abc.ABC):
    """Computes outputs for draws of a posterior, for one kind of x.

    A draw depends only on the key, its index and, if it is by row, on the row's
    index. So it is the same in whichever way it is made.

    Attributes:
        effects: the model's effects beside outputs of its inputs alone.
        num_draws: the number of different draws; None if there is no limit.
        has_mean: whether one network stands for all draws.
        num_means: the number of networks that stand for all draws: one at the
            posterior means, or each member of an ensemble at its own.
    """

    num_draws: int | None = None
    has_mean = True
    num_means = 1

    def __init__(self, inputs: Any, antithetic: bool, effects: Effects):
        """Prepares the function; nothing is compiled yet.

        Args:
            inputs: the TensorSpecs of the inputs, in the structure of x.
            antithetic: whether draws come in pairs with opposite noise.
            effects: the effects of the model.
        """
        self._inputs = inputs
        self.effects = effects
        self._antithetic = antithetic
        self._functions: dict[tuple[Way, str | None], Any] = {}
        self._masks_function: Any = None
        self._has_masks: bool | None = None
        self._leaving: dict[int, Any] = {}

    @abc.abstractmethod
    def costs(self, x: Any) -> Costs:
        """Counts what draws cost, for inputs like x."""

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
        """Computes the outputs of draws as a graph, without a function.

        Args:
            way: how draws are made; not `MEAN`.
            x: the inputs, B rows.
            key: the key of all draws, `[2]`; for marginal draws it may be
                `[B, 2]`, one for each row.
            start: the index of the first draw.
            stop: one past the index of the last.
            rows: the indices of the rows, `[B]`, for draws that are by row;
                `[1]` for marginal draws that all rows share.

        Returns:
            `[stop - start, B, ...]`.
        """

    @abc.abstractmethod
    def trace_one(
        self, x: Any, key: Tensor | None, index: Tensor, leaves: bool = False
    ) -> Any:
        """Computes the outputs `[B, ...]` of the coherent draw of an index.

        Args:
            x: the inputs, B rows.
            key: the key of all draws, `[2]`; None for the means.
            index: the index of the draw.
            leaves: whether the draw writes the states that it ends with.
        """

    @abc.abstractmethod
    def trace_mean(self, x: Any) -> Any:
        """Computes outputs at the posterior means, `[num_means, B, ...]`."""

    def draws(
        self,
        x: Any,
        key: Tensor,
        start: int,
        stop: int,
        draws: Draws = Draws.COHERENT,
        first_row: int = 0,
    ) -> Any:
        """Computes the outputs of the draws from `start` to `stop`.

        They are made in the way that takes the least time.

        Args:
            x: the inputs, B rows.
            key: the key of all draws, `[2]`.
            start: the index of the first draw.
            stop: one past the index of the last.
            draws: the kind of draws, one of those in `Costs.works`.
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

    @property
    def rows(self) -> int | None:
        """How many rows a batch must have, where each has a state; or None."""
        leaves = keras.tree.flatten(forms.present(self._inputs))
        known: int | None = leaves[0].shape[0] if leaves else None
        return known

    def masks(self, x: Any) -> list[Array | None]:
        """Computes which places of the outputs count, by Keras's masks.

        Args:
            x: inputs, B rows.

        Returns:
            For each output booleans `[B, ...]`, or None if it has no mask.
        """
        network = self.network()
        if self._has_masks is None:
            self._has_masks = not can_read(network) or any(
                Graph(network).masked
            )
        if not self._has_masks:
            return [None for _ in network.outputs]
        if self._masks_function is None:
            with TRACING:
                # All that masks are not made of is left out of the graph.
                self._masks_function = tf.function(
                    self._trace_masks,
                    input_signature=[forms.present(self._inputs)],
                    autograph=False,
                )
                self._masks_function.get_concrete_function()
        masks = self._masks_function(forms.present(x))
        return [None if mask is None else np.asarray(mask) for mask in masks]

    def _trace_masks(self, x: Any) -> list[Tensor | None]:
        x = forms.restored(x, self._inputs)
        scope = self._scope(random.as_key(0), tf.constant(0, tf.int64))
        # Nothing is written by what is only looked at.
        with keras.StatelessScope(), random.entered(scope):
            outputs = callee(self.network())(x, training=False)
        masks = map(mask_of, keras.tree.flatten(outputs))
        return [None if m is None else tf.cast(m, tf.bool) for m in masks]

    @abc.abstractmethod
    def network(self) -> Any:
        """Returns a network whose outputs have the masks of the draws'."""

    def mean(self, x: Any) -> Any:
        """Computes outputs at the means, `[num_means, B, ...]`, compiled."""
        return _to_numpy(self.compiled(MEAN)(forms.present(x)))

    def leave_state(self, x: Any, key: Tensor | None) -> None:
        """Writes the states that one call leaves, those of the first draw.

        Draws themselves start from the existing states, and write none.

        Args:
            x: the inputs, B rows.
            key: the key of all draws; None for a call at the means.
        """
        if not self.effects.states:
            return
        keys = [] if key is None else [key]
        with TRACING:
            if len(keys) not in self._leaving:
                inputs = forms.present(self._inputs)
                signature = [inputs, *([_KEY] * len(keys))]
                self._leaving[len(keys)] = tf.function(
                    self._leave, input_signature=signature, autograph=False
                )
                self._leaving[len(keys)].get_concrete_function()  # traces it
        self._leaving[len(keys)](forms.present(x), *keys)

    def _leave(self, x: Any, key: Tensor | None = None) -> None:
        x = forms.restored(x, self._inputs)
        self.trace_one(x, key, tf.constant(0, tf.int64), leaves=True)

    def compiled(self, way: Way) -> Any:
        """Returns the function of a way, which is compiled at its first use.

        It takes the arguments of `trace` after the way, or of `trace_mean`,
        with x as `forms.present` returns it. Each device of a strategy has its
        own, which reads the variables' copies there, so that all tracing is
        done here, by one thread at a time.
        """
        place = way, devices.current()
        if place not in self._functions:
            with TRACING:
                if place not in self._functions:
                    self._functions[place] = self._compile(way)
        return self._functions[place]

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
        key: Tensor | None,
        indices: Tensor,
        rows: Tensor | None = None,
        known: dict[int, Any] | None = None,
    ) -> random.DrawScope:
        """Makes the scope of a draw, or of stacked draws, of these indices."""
        if key is None:
            return random.DrawScope(None, indices=indices)
        pairs = indices // 2 if self._antithetic else indices
        signs = 1 - 2 * (indices % 2) if self._antithetic else None
        if len(key.shape) == 2:  # one for each row
            pairs = pairs[:, tf.newaxis]
        keys = random.fold(key, pairs)
        return random.DrawScope(keys, rows, signs, known, indices)

    @contextlib.contextmanager
    def _in_draw(
        self, scope: random.DrawScope, leaves: bool = False
    ) -> Iterator[None]:
        """Enters the scope of one draw, and the state that it starts from.

        Models that keep no state are in it too: Keras's recurrent layers make
        the masks of their dropout, and move its seed on, when nobody uses them.
        """
        # Stacks of draws have many keys, and only such seeds as nobody uses.
        key = None if scope.is_stacked else scope.key
        state = DrawState(key, self.effects.counters)
        with random.entered(scope), state:
            yield
            if leaves:
                state.write(self.effects.states)

    def _looped(
        self,
        run: Callable[[Tensor], Any],
        start: Tensor,
        stop: Tensor,
        output_types: Any,
    ) -> Any:
        """Stacks the results of `run` for each index, in a graph's loop."""
        # Two at a time: the noise of one hides behind the products of another.
        return tf.map_fn(
            run,
            tf.range(start, stop),
            parallel_iterations=1 if self.effects.in_order else 2,
            fn_output_signature=output_types,
        )


def wide(model: keras.Model) -> tf.DType:
    """Returns the dtype of a model's outputs: at least float32."""
    return tf.float64 if model.compute_dtype == "float64" else tf.float32


def over_means(
    run: Callable[[random.DrawScope], Any], num_means: int, output_types: Any
) -> Any:
    """Stacks the results of `run` for each mean, `[num_means, B, ...]`."""

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
