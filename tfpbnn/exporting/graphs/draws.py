"""Any posterior is drawn inside of an exported graph here."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base.types import Tensor
from tfpbnn.exporting.graphs.hoisted import Hoisted
from tfpbnn.exporting.signatures.inputs import Inputs
from tfpbnn.particles import DrawFunction
from tfpbnn.particles.ways import LOOPED, MARGINAL, STACKED, Draws, Way

# Rows that are looked for at most, for where a way to draw begins to pay.
_MANY_ROWS = 2**20
# A tensor would start TensorFlow when imported.
_FIRST = np.int64(0)
# The indices of rows that all share one row's noise.
ONE_ROW: np.ndarray = np.zeros([1], np.int64)


class ExportedDraws:
    """This makes a posterior's outputs, `[S, B, ...]`, by plain operations.

    Attributes:
        num_samples: S; at most as many as there are.
        is_random: whether there is no end of draws.
        spec: the TensorSpecs of the outputs of one draw, `[B, ...]`.
    """

    def __init__(
        self, function: DrawFunction, inputs: Inputs, num_samples: int
    ):
        """Counts what draws cost.

        Args:
            function: the posterior's draws.
            inputs: those of its model.
            num_samples: how many draws are asked for.
        """
        self._function = function
        self.is_random = function.num_draws is None
        self.num_samples = self.most(num_samples)
        self._functions: dict[tuple[Way, bool], Hoisted] = {}
        self._kept: dict[Any, tf.Variable] = {}
        costs = self._costs = function.costs(inputs.typical())
        self._most_stacked = _most_rows(costs.stacking_pays)
        self._most_marginal = _most_rows(costs.sharing_noise_pays)
        one = tf.function(self.trace_one, autograph=False)
        key, index = tf.TensorSpec([2], tf.int64), tf.TensorSpec([], tf.int64)
        x = inputs.pack(inputs.specs)
        self.spec = one.get_concrete_function(x, key, index).structured_outputs

    def most(self, limit: int) -> int:
        """Returns the most draws to ask for: a limit, or all that there are."""
        return min(limit, self._function.num_draws or limit)

    def trace(self, way: Way, x: Any, *arguments: Tensor) -> Any:
        """Does as `DrawFunction.trace`, without fused passes."""
        with fused.plain(addressed=True):
            return self._function.trace(way, x, *arguments)

    def trace_one(self, x: Any, key: Tensor, index: Tensor) -> Any:
        """Does as `DrawFunction.trace_one`, without fused passes."""
        with fused.plain(addressed=True):
            return self._function.trace_one(x, key, index)

    def way_of_fixed(self) -> Way:
        """Returns how kept draws are best made; looped is one by one."""
        if Draws.MARGINAL in self._costs.works:
            return MARGINAL
        return STACKED if self._most_stacked else LOOPED

    def mean(self, x: Any) -> Any:
        """Returns the outputs of the networks that stand for all, or of all."""
        count = self._function.num_draws
        if self._function.has_mean or count is None:
            with fused.plain(addressed=True):
                means = self._function.trace_mean(x)
            return self._shaped(means, self._function.num_means)
        stop = tf.constant(count, tf.int64)
        draws = self.trace(LOOPED, x, random.as_key(0), _FIRST, stop)
        return self._shaped(draws, count)

    def fresh(self, x: Any, rows: Tensor) -> Any:
        """Returns outputs of draws of a fresh key, made in the cheapest way.

        Each run of the graph has another key. Rows share the draws, of noise or
        of weights.
        """
        key = random.fresh_key()

        def marginal() -> Any:
            return self._call(MARGINAL, False, x, key, ONE_ROW)

        def coherent() -> Any:
            return self._coherent(x, rows, key, addressed=False)

        draws = _up_to(rows, self._most_marginal, marginal, coherent)
        return self._shaped(draws, self.num_samples)

    def of_key(self, x: Any, rows: Tensor, key: Tensor, stop: Tensor) -> Any:
        """Returns a key's coherent draws up to `stop`, as in `predict`."""
        return _up_to(
            rows,
            self._most_stacked,
            lambda: self.trace(STACKED, x, key, _FIRST, stop),
            lambda: self.trace(LOOPED, x, key, _FIRST, stop),
        )

    def seeded(self, x: Any, rows: Tensor, seeds: Tensor) -> Any:
        """Returns each row's draws of its seed, whatever rows are beside it.

        They are those that `predict` has for the row alone, with
        draws="marginal" where that is exact.

        Args:
            x: inputs, B rows.
            rows: B.
            seeds: `[B]`.
        """
        if Draws.MARGINAL in self._costs.works:
            keys, indices = random.as_keys(seeds), tf.zeros_like(seeds)
            draws = self._call(MARGINAL, True, x, keys, indices)
        elif not self.is_random:
            key = random.as_key(0)
            draws = self._coherent(x, rows, key, addressed=True)
        else:
            draws = self._seed_by_seed(x, seeds)
        return self._shaped(draws, self.num_samples)

    def _seed_by_seed(self, x: Any, seeds: Tensor) -> Any:
        distinct, which = tf.unique(seeds)
        if self._function.effects.is_noisy:
            # Noise of the user's own is by the place among rows: one at a time.
            distinct, which = seeds, tf.range(tf.size(seeds))
        count = tf.size(distinct)
        flat = [
            tf.TensorArray(
                y.dtype,
                count,
                infer_shape=False,
                element_shape=[None, self.num_samples, *y.shape[1:]],
            )
            for y in keras.tree.flatten(self.spec)
        ]

        def of_seed(index: Tensor, arrays: list[Any]) -> Any:
            rows = tf.where(which == index)[:, 0]
            chosen = keras.tree.map_structure(lambda t: tf.gather(t, rows), x)
            key = random.as_keys(distinct[index])
            size = tf.size(rows, tf.int64)
            draws = self._coherent(chosen, size, key, addressed=True)
            return index + 1, [
                array.write(index, batch_first(y))
                for array, y in zip(
                    arrays, keras.tree.flatten(draws), strict=True
                )
            ]

        _, flat = tf.while_loop(
            lambda index, _: index < count, of_seed, (0, flat)
        )
        # From the order of seeds back to that of rows.
        place = tf.argsort(tf.argsort(which, stable=True), stable=True)
        joined = [
            batch_first(tf.gather(array.concat(), place)) for array in flat
        ]
        return keras.tree.pack_sequence_as(self.spec, joined)

    def _shaped(self, draws: Any, count: int) -> Any:
        """Returns the draws, and lets the graph know how many there are."""

        def shaped(y: Tensor, spec: Tensor) -> Tensor:
            y.set_shape([count, None, *spec.shape[1:]])
            return y

        return keras.tree.map_structure(shaped, draws, self.spec)

    def _call(
        self, way: Way, addressed: bool, x: Any, key: Tensor, *rows: Tensor
    ) -> Any:
        """Returns S draws of a key, by a function that all signatures share.

        Args:
            way: how they are made.
            addressed: whether random numbers are those of `predict`.
            x: inputs.
            key: that of all draws, or those of each row.
            *rows: the indices of the rows, for marginal draws.
        """
        flat = keras.tree.flatten(x)
        name = way, addressed
        if name not in self._functions:

            def run(key: Tensor, *tensors: Tensor) -> Any:
                inputs = keras.tree.pack_sequence_as(x, tensors[: len(flat)])
                stop = tf.constant(self.num_samples, tf.int64)
                with fused.plain(addressed):
                    return self._function.trace(
                        way, inputs, key, _FIRST, stop, *tensors[len(flat) :]
                    )

            arguments = [key, *flat, *rows]
            specs = [tf.TensorSpec(t.shape, t.dtype) for t in arguments]
            self._functions[name] = Hoisted(run, specs, self._kept)
        return self._functions[name](key, *flat, *rows)

    def _coherent(
        self, x: Any, rows: Tensor, key: Tensor, addressed: bool
    ) -> Any:
        return _up_to(
            rows,
            self._most_stacked,
            lambda: self._call(STACKED, addressed, x, key),
            lambda: self._call(LOOPED, addressed, x, key),
        )


def batch_first(y: Tensor) -> Tensor:
    """Turns `[S, B, ...]` into `[B, S, ...]`, or back."""
    return tf.transpose(y, [1, 0, *range(2, len(y.shape))])


def _most_rows(pays: Callable[[int], bool]) -> int:
    """Returns the most rows that something pays for, if it pays for few."""
    if pays(_MANY_ROWS):
        return _MANY_ROWS
    low, high = 0, _MANY_ROWS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if pays(middle) else (low, middle)
    return low


def _up_to(
    rows: Tensor,
    most: int,
    few: Callable[[], Any],
    many: Callable[[], Any],
) -> Any:
    """Chooses one or the other, by the count of rows in a request."""
    if most == 0:
        return many()
    if most >= _MANY_ROWS:
        return few()
    return tf.cond(rows <= most, few, many)
