"""Computes the slopes of a network's outputs in its weights, row by row."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data, forms
from tfpbnn.base.types import Tensor
from tfpbnn.layers.drawn.base import DrawnValues
from tfpbnn.networks.reading import open_spec
from tfpbnn.posteriors.laplace.ends import end_of
from tfpbnn.posteriors.laplace.uses import Use, uses_of
from tfpbnn.posteriors.laplace.weight_slopes import WeightSlopes

# Of the largest slope; a wrong reading of a graph differs by far more.
_TOLERANCE = 0.02
# As many rows tell whether rows mix.
_FEW_ROWS = 3
# Gradients of more combinations of outputs are taken in a loop in the graph.
_UNROLLED = 16


class Traced:
    """One run of a network in a graph, with what its slopes are made of.

    Attributes:
        rows: the number B of rows.
        outputs: all outputs of the network, or what is before their last
            activation, as a list.
        uses: of each weight its operations; None where slopes are taken row by
            row.
    """

    def __init__(
        self,
        network: keras.Model,
        variables: Sequence[keras.Variable],
        by_row: frozenset[int],
        x: Any,
        before_ends: bool = False,
    ):
        self._before_ends = before_ends
        self._network, self._variables, self._x = network, variables, x
        self.rows = data.num_rows(x)
        self.values, self.outputs = self._run(x)
        self.uses: list[list[Use] | None] = [
            None if index in by_row else uses_of(value, self.rows)
            for index, value in enumerate(self.values)
        ]

    def _run(self, x: Any) -> tuple[list[Tensor], list[Tensor]]:
        values = [tf.identity(v.value) for v in self._variables]
        pairs = list(zip(self._variables, values, strict=True))
        with DrawnValues(pairs):
            outputs = self._network(x, training=False)
        leaves = keras.tree.flatten(outputs)
        if self._before_ends:
            leaves = [end_of(y).before for y in leaves]
        return values, leaves

    def weights(
        self, which: Sequence[int], columns: Sequence[Tensor]
    ) -> list[WeightSlopes]:
        """Computes the slopes of combinations of outputs in each weight.

        Args:
            which: the outputs that are combined.
            columns: for each of these the factors, `[C, B, ...]`.
        """
        jacobians = self._row_by_row(which, columns)
        return [
            weight
            if weight.uses is not None
            else WeightSlopes(None, by_row=jacobians[i])
            for i, weight in enumerate(self.weights_with_uses(which, columns))
        ]

    def weights_with_uses(
        self, which: Sequence[int], columns: Sequence[Tensor]
    ) -> list[WeightSlopes]:
        """As `weights`, with nothing for those without uses."""
        outputs = [self.outputs[i] for i in which]
        flat = [use for uses in self.uses for use in uses or ()]
        sources = [use.output for use in flat]
        found = iter(_gradients(outputs, sources, columns) if flat else ())
        dtype = self.values[0].dtype

        def in_uses(uses: list[Use]) -> list[Tensor]:
            slopes = [use.slopes(next(found), self.rows) for use in uses]
            return [tf.cast(slope, dtype) for slope in slopes]

        return [WeightSlopes(u, in_uses(u or [])) for u in self.uses]

    def jacobians(
        self, which: Sequence[int], columns: Sequence[Tensor]
    ) -> list[Tensor]:
        """Computes Jacobians `[C, B, D]` of each weight, as in `weights`."""
        return [weight.jacobian() for weight in self.weights(which, columns)]

    def _row_by_row(
        self, which: Sequence[int], columns: Sequence[Tensor]
    ) -> dict[int, Tensor]:
        """Computes Jacobians `[C, B, D]` of the weights without uses."""
        numbers = [i for i, uses in enumerate(self.uses) if uses is None]
        if not numbers:
            return {}

        def one(row: Tensor) -> list[Tensor]:
            x = keras.tree.map_structure(
                lambda t: None if t is None else t[row : row + 1], self._x
            )
            values, outputs = self._run(x)
            found = _gradients(
                [outputs[i] for i in which],
                [values[i] for i in numbers],
                [column[:, row : row + 1] for column in columns],
            )
            return [tf.reshape(g, [tf.shape(g)[0], -1]) for g in found]

        kinds = [self.values[i].dtype for i in numbers]
        found = tf.map_fn(one, tf.range(self.rows), fn_output_signature=kinds)
        jacobians = {}
        for number, jacobian in zip(numbers, found, strict=True):
            size = self._variables[number].value.shape.num_elements()
            jacobian = tf.transpose(jacobian, [1, 0, 2])
            jacobian.set_shape([None, None, size])
            jacobians[number] = jacobian
        return jacobians


def _gradients(
    outputs: list[Tensor], sources: list[Tensor], columns: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of all columns, `[C, ...]` for each source."""

    def of_column(factors: list[Tensor]) -> list[Tensor]:
        factors = [
            tf.cast(f, y.dtype) for f, y in zip(factors, outputs, strict=True)
        ]
        found = tf.gradients(
            outputs,
            sources,
            factors,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        # Of lookups they are sparse.
        return [tf.convert_to_tensor(gradient) for gradient in found]

    # Not by `tf.vectorized_map`: its products of stacks crash in oneDNN for
    # some attention (TensorFlow 2.21).
    count = columns[0].shape[0]
    if count is not None and count <= _UNROLLED:
        each = [of_column([c[i] for c in columns]) for i in range(count)]
        return [tf.stack(parts) for parts in zip(*each, strict=True)]
    kinds = [source.dtype for source in sources]
    return tf.map_fn(of_column, list(columns), fn_output_signature=kinds)


def each_output(traced: Traced, which: Sequence[int]) -> list[Tensor]:
    """Columns that are 1 for one element of the outputs each.

    Returns:
        For each output in `which` `[M, B, ...]`, with M elements in a row of
        them all.
    """
    outputs = [traced.outputs[i] for i in which]
    dtype = traced.values[0].dtype
    shapes = [tf.shape(y) for y in outputs]
    sizes = [tf.reduce_prod(shape[1:]) for shape in shapes]
    eye = tf.eye(tf.add_n(sizes), dtype=dtype)
    total = tf.shape(eye)[0]
    found = []
    for part, shape in zip(tf.split(eye, sizes, axis=1), shapes, strict=True):
        part = tf.reshape(part, tf.concat([[total, 1], shape[1:]], 0))
        full = tf.concat([[total], shape], 0)
        found.append(tf.broadcast_to(part, full))
    return found


def compiled(
    function: Callable[..., Any], network: Any, x: Any, *rest: Any
) -> Callable[..., Any]:
    """Compiles a function of inputs like x, with any number of rows.

    Args:
        function: of inputs and what else there is.
        network: takes the inputs.
        x: some rows.
        rest: arrays in structures, of which other ones may have other sizes.
    """
    spec = open_spec(network, x)
    open_rest = keras.tree.map_structure(
        lambda a: tf.TensorSpec([None] * a.ndim, a.dtype), list(rest)
    )
    graph = tf.function(
        lambda x, rest: function(forms.restored(x, spec), *rest),
        autograph=False,
    ).get_concrete_function(forms.present(spec), open_rest)
    return lambda x, *rest: graph(*_tensors([forms.present(x), list(rest)]))


def _tensors(given: Any) -> Any:
    return keras.tree.map_structure(
        lambda a: tf.convert_to_tensor(a) if isinstance(a, np.ndarray) else a,
        given,
    )


def misread(
    network: keras.Model,
    variables: Sequence[keras.Variable],
    which: Sequence[int],
    x: Any,
) -> frozenset[int]:
    """Finds the weights whose slopes have to be taken row by row.

    These have operations of unknown kinds, or ones that mix up rows: for the
    slopes by uses are compared with the gradient of one row.

    Args:
        network: a built network.
        variables: the weights.
        which: the outputs that have a likelihood.
        x: some rows of inputs.

    Raises:
        ValueError: if no such output depends on a weight, or if there are such
            weights and the outputs of a row depend on other rows.
    """

    def compare(x: Any) -> list[Tensor]:
        traced = Traced(network, variables, frozenset(), x)
        columns = [_of_first_row(traced.outputs[i]) for i in which]
        found = traced.weights_with_uses(which, columns)
        outputs = [traced.outputs[i] for i in which]
        true = tf.gradients(outputs, traced.values, [c[0] for c in columns])
        _check_depend(variables, true)
        errors = []
        for weight, right in zip(found, true, strict=True):
            if not weight.uses:
                errors.append(tf.constant(np.inf, tf.float32))
                continue
            jacobian = weight.jacobian()[0]
            right = tf.reshape(tf.convert_to_tensor(right), [1, -1])
            nothing = tf.zeros_like(jacobian[1:])
            wrong = jacobian - tf.concat([right, nothing], 0)
            largest = tf.reduce_max(tf.abs(right))
            error = tf.reduce_max(tf.abs(wrong)) - _TOLERANCE * largest
            errors.append(tf.cast(error, tf.float32))
        return errors

    few = _rows(x, _FEW_ROWS)
    errors = compiled(compare, network, few)(few)
    found = frozenset(i for i, e in enumerate(errors) if float(e) > 0)
    if found:
        _check_apart(network, which, few)
    return found


def _rows(x: Any, count: int) -> Any:
    return keras.tree.map_structure(
        lambda t: None if t is None else t[:count], x
    )


def _of_first_row(output: Tensor) -> Tensor:
    # Any numbers that differ will do.
    numbers = tf.range(tf.size(output), dtype=output.dtype)
    noise = tf.reshape(tf.cos(1.7 * numbers), tf.shape(output))
    shape = [-1] + [1] * (len(output.shape) - 1)
    is_first = tf.reshape(tf.range(tf.shape(output)[0]) == 0, shape)
    return tf.where(is_first, noise, tf.zeros_like(noise))[None]


def _check_depend(
    variables: Sequence[keras.Variable], gradients: Sequence[Any]
) -> None:
    missing = [
        v.path for v, g in zip(variables, gradients, strict=True) if g is None
    ]
    if missing:
        raise ValueError(
            "`subset` must be of weights that an output with a likelihood "
            f"depends on. Received: {missing}, of which none does. Leave them "
            "out of `subset`, freeze them by `trainable=False`, or give their "
            "output a loss"
        )


def _check_apart(network: keras.Model, which: Sequence[int], x: Any) -> None:
    """Raises if a row's outputs are not those of the row alone."""

    def first(x: Any) -> list[Tensor]:
        leaves = keras.tree.flatten(network(x, training=False))
        return [tf.cast(leaves[i][0], tf.float32) for i in which]

    function = compiled(first, network, x)
    for one, among in zip(function(_rows(x, 1)), function(x), strict=True):
        largest = tf.reduce_max(tf.abs(among))
        if float(tf.reduce_max(tf.abs(one - among)) - _TOLERANCE * largest) > 0:
            raise ValueError(
                "`model` must compute a row's outputs from that row alone, "
                "for the curvature of weights before a layer that mixes rows "
                "is no sum over rows. Received: a model whose outputs for a "
                "row change with the rows beside it. Take a `subset` of "
                "weights behind that layer"
            )
