"""Draws are taken once and kept here, so that no random number is left."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.exporting.graphs.cutting import Rest, is_expensive, traced
from tfpbnn.exporting.graphs.draws import ONE_ROW, ExportedDraws
from tfpbnn.exporting.signatures.inputs import Inputs
from tfpbnn.particles.ways import Draws, Way

# From inputs to outputs, `[S, B, ...]` each.
Outputs = Callable[..., list[Tensor]]
# What is kept, by what is drawn.
_WHAT = {
    Draws.MARGINAL: "noise on the outputs of layers",
    Draws.COHERENT: "weights and masks",
}
# Larger tensors are kept as variables: a graph holds 2 GiB at most.
_SMALL = 1024


class FixedDraws:
    """This makes the outputs, `[S, B, ...]`, of S draws that are taken once.

    The graph of the draws is cut where what the key decides, such as kernels
    and masks, meets what depends on the inputs. The former is computed here
    and kept. So it holds for any posterior, whatever it draws.

    Where a row's distribution is exact with noise on the outputs of layers, it
    is that noise which is kept: S numbers for each output and not for each
    weight. A request then reads each kernel once and not S times, which is
    most of the time of a small one.

    Attributes:
        num_samples: S.
    """

    def __init__(
        self,
        draws: ExportedDraws,
        inputs: Inputs,
        key: Tensor,
        max_bytes: int,
        at_once: bool = False,
    ):
        """Takes the draws.

        Args:
            draws: the posterior's.
            inputs: of its model.
            key: of all draws.
            max_bytes: how large what is kept may be.
            at_once: whether to join draws that are taken one by one, so that a
                long graph is there once and not for each of them.

        Raises:
            ValueError: if it is larger.
        """
        self._inputs, self.num_samples = inputs, draws.num_samples
        way = draws.way_of_fixed()
        graph = _graph(draws, inputs, way)
        self._structure = graph.structured_outputs
        key_in, index_in, *x = graph.inputs[: 2 + len(inputs.specs)]
        is_stacked = way.is_stacked
        drawn = [key_in, index_in]
        # Of draws one by one each would keep its own of what they share.
        cut = _cut(graph.graph, drawn, x, graph.outputs, is_stacked)
        parts = 1 if is_stacked else self.num_samples
        self._what = _WHAT[way.draws]
        self._check_size(cut * parts, max_bytes)
        rest = Rest(graph, [*x, *cut])
        found: list[list[Tensor]] = [[]] * parts
        if cut:
            draw = graph.prune([key_in, index_in], cut)
            indices = tf.range(parts, dtype=tf.int64)
            found = [draw(key, index) for index in indices]
        self._check_size([t for values in found for t in values], max_bytes)
        if is_stacked:
            self._draws = _with_kept(rest, found[0])
        else:
            joined = _at_once(rest, inputs, found) if cut and at_once else None
            self._draws = joined or _one_by_one(rest, found)

    def __call__(self, x: dict[str, Tensor]) -> Any:
        """Returns the outputs for inputs by name."""
        flat = self._draws(*(x[name] for name in self._inputs.specs))
        return keras.tree.pack_sequence_as(self._structure, flat)

    def _check_size(self, tensors: list[Any], max_bytes: int) -> None:
        size = sum(map(_bytes, tensors))
        if size > max_bytes:
            largest = max(tensors, key=_bytes)
            raise ValueError(
                f'draws="fixed" would keep {size / 2**20:.1f} MiB, '
                f"{self.num_samples} draws of {self._what} (the largest tensor "
                f"of shape {tuple(largest.shape)}), more than `max_bytes` "
                f"allows, {max_bytes / 2**20:.1f} MiB. Use fewer "
                'num_samples, draws="fresh" or a larger max_bytes.'
            )


def _graph(draws: ExportedDraws, inputs: Inputs, way: Way) -> Any:
    """Traces the draws as a graph of their key, index and the inputs."""

    def run(key: Tensor, index: Tensor, *tensors: Tensor) -> Any:
        named = dict(zip(inputs.specs, tensors, strict=True))
        x = inputs.pack(named)
        if not way.is_stacked:
            return draws.trace_one(x, key, index)
        ends = [tf.constant(n, tf.int64) for n in (0, draws.num_samples)]
        rows = [ONE_ROW] if way.draws.is_by_row else []
        return draws.trace(way, x, key, *ends, *rows)

    arguments = [tf.TensorSpec([2], tf.int64), tf.TensorSpec([], tf.int64)]
    return traced(run, [*arguments, *inputs.specs.values()])


def _cut(
    graph: Any,
    drawn: list[Tensor],
    given: list[Tensor],
    outputs: list[Tensor],
    with_expensive: bool,
) -> list[Tensor]:
    """Finds tensors that meet what depends on `given`, and do not.

    Those are of `drawn`, or expensive if that is asked for.
    """
    from_drawn = {tensor.op.name for tensor in drawn}
    from_given = {tensor.op.name for tensor in given}
    cut: dict[str, Tensor] = {}
    for op in graph.get_operations():
        sources = {tensor.op.name for tensor in op.inputs}
        sources |= {source.name for source in op.control_inputs}
        if sources & from_given:
            from_given.add(op.name)
        if sources & from_drawn or (with_expensive and is_expensive(op)):
            from_drawn.add(op.name)
    only_drawn = from_drawn - from_given
    for op in graph.get_operations():
        if op.name in from_given:
            cut |= {t.name: t for t in op.inputs if t.op.name in only_drawn}
    cut |= {t.name: t for t in outputs if t.op.name in only_drawn}
    return list(cut.values())


def _with_kept(rest: Rest, values: list[Tensor]) -> Outputs:
    kept = list(map(_kept, values))
    return lambda *x: rest(*x, *map(tf.convert_to_tensor, kept))


def _one_by_one(rest: Rest, found: list[list[Tensor]]) -> Outputs:
    draws = [_with_kept(rest, values) for values in found]

    def run(*x: Tensor) -> list[Tensor]:
        parts = [draw(*x) for draw in draws]
        return [tf.stack(outputs) for outputs in zip(*parts, strict=True)]

    return run


def _at_once(
    rest: Rest, inputs: Inputs, found: list[list[Tensor]]
) -> Outputs | None:
    """Joins the draws by operations on stacks; None if some lack them."""
    kept = [_kept(tf.stack(draws)) for draws in zip(*found, strict=True)]

    def run(*x: Tensor) -> list[Tensor]:
        return tf.vectorized_map(
            lambda values: rest(*x, *values),
            list(map(tf.convert_to_tensor, kept)),
            fallback_to_while_loop=False,
        )

    function = tf.function(run, autograph=False)
    try:
        function.get_concrete_function(*inputs.specs.values())
    except ValueError:
        return None
    return function


def _bytes(tensor: Any) -> int:
    """Returns the size of a tensor, as far as it is known."""
    size = tensor.shape.num_elements()
    return (size or 0) * tensor.dtype.size


def _kept(value: Tensor) -> Any:
    is_small = value.shape.num_elements() <= _SMALL
    if is_small or not value.dtype.is_floating:
        return value.numpy()  # becomes a constant of the graph
    return tf.Variable(value, trainable=False)
