"""A model's outputs for draws of its weights, compiled once."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Tensor
from tfpbnn.particles.costs import Costs

_NUMBER = tf.TensorSpec([], tf.int64)
_KEY = tf.TensorSpec([2], tf.int64)
_ROWS = tf.TensorSpec([None], tf.int64)
# A function of the inputs and of these, by kind.
_SIGNATURES: dict[str, list[Any]] = {
    "mean": [],
    "loop": [_KEY, _NUMBER, _NUMBER],
    "stack": [_KEY, _NUMBER, _NUMBER],
    "apart": [_KEY, _NUMBER, _NUMBER, _ROWS],
    "mixed loop": [_KEY, _NUMBER, _NUMBER, _ROWS],
    "mixed stack": [_KEY, _NUMBER, _NUMBER, _ROWS],
}


class DrawFunction(abc.ABC):
    """Outputs for draws of a posterior, compiled for one kind of x.

    The numbers are the same for every kind of function: a draw depends on the
    key and on its own number and, with `apart`, on the row's.

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

    def __init__(self, inputs: Any):
        self._inputs = inputs
        self._functions: dict[str, Any] = {}

    @abc.abstractmethod
    def costs(self, x: Any) -> Costs:
        """What draws cost, counted, for inputs like x."""

    @abc.abstractmethod
    def trace(self, kind: str, x: Any, *arguments: Tensor) -> Any:
        """The outputs as a graph, with no function compiled around it.

        Args:
            kind: "mean" (no arguments), "one" (key `[2]` and number of a
                draw), "loop", "stack" or "rows" (key, number of the first
                draw, one past that of the last), or "apart", "mixed loop" or
                "mixed stack" (the same and the numbers of the rows, `[B]`; the
                key of "apart" may be `[B, 2]`, one for each row).
            x: inputs, B rows.
            *arguments: int64 tensors.

        Returns:
            `[stop - start, B, ...]`; `[B, stop - start, ...]` for "rows",
            `[num_means, B, ...]` for "mean", `[B, ...]` for "one".
        """

    def draws(self, x: Any, key: Tensor, start: int, stop: int) -> Any:
        """Outputs of the draws `start` to `stop`, `[stop - start, B, ...]`.

        The same weights for every row.
        """
        rows, costs = len(keras.tree.flatten(x)[0]), self.costs(x)
        kind = "stack" if costs.stacking_pays(rows) else "loop"
        return _to_numpy(self.compiled(kind)(x, key, start, stop))

    def draws_by_row(
        self,
        draws: str,
        x: Any,
        key: Tensor,
        start: int,
        stop: int,
        first_row: int,
    ) -> Any:
        """Likewise, with draws of each row's own.

        Args:
            draws: "marginal" for all layers, "mixed" for the first of them:
                see `Costs`.
            x: inputs, B rows.
            key: of all draws.
            start: the number of the first draw.
            stop: one past the number of the last.
            first_row: the number of x's first row.
        """
        rows = len(keras.tree.flatten(x)[0])
        numbers = tf.range(first_row, first_row + rows, dtype=tf.int64)
        kind = "apart"
        if draws == "mixed":
            is_stacked = self.costs(x).stacking_pays(rows, draws)
            kind = "mixed stack" if is_stacked else "mixed loop"
        return _to_numpy(self.compiled(kind)(x, key, start, stop, numbers))

    def mean(self, x: Any) -> Any:
        """Outputs at the posterior means, `[num_means, B, ...]`."""
        return _to_numpy(self.compiled("mean")(x))

    def compiled(self, kind: str) -> Any:
        """The function of a kind, made when first asked for."""
        if kind not in self._functions:
            self._functions[kind] = tf.function(
                functools.partial(self.trace, kind),
                input_signature=[self._inputs, *_SIGNATURES[kind]],
                autograph=False,
            )
        return self._functions[kind]


def wide(model: keras.Model) -> tf.DType:
    """The type of a model's outputs: at least float32."""
    return tf.float64 if model.compute_dtype == "float64" else tf.float32


def keys_and_signs(
    key: Tensor, numbers: Tensor, antithetic: bool
) -> tuple[Tensor, Any]:
    """The draws' keys, and the signs of their noise (None for all 1).

    Of `[B, 2]`, one key for each row, those of the draws are `[S, B, 2]`.
    """
    signs = 1 - 2 * (numbers % 2) if antithetic else None
    numbers = numbers // 2 if antithetic else numbers
    if len(key.shape) == 2:
        numbers = numbers[:, tf.newaxis]
    return random.fold(key, numbers), signs


def over_means(
    run: Callable[[Tensor], Any], num_means: int, output_types: Any
) -> Any:
    """What `run` gives for the number of each mean, `[num_means, B, ...]`."""
    if num_means == 1:  # no loop, which exports would keep
        outputs = run(tf.constant(0, tf.int64))
        return keras.tree.map_structure(lambda y: y[tf.newaxis], outputs)
    numbers = tf.range(num_means, dtype=tf.int64)
    return tf.map_fn(run, numbers, fn_output_signature=output_types)


def _to_numpy(outputs: Any) -> Any:
    # Unlike `numpy()`, which copies.
    return keras.tree.map_structure(np.asarray, outputs)
