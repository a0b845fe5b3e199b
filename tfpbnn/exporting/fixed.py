"""Draws that are taken once and kept, so that no random number is left."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.exporting.cutting import Rest, is_expensive, traced
from tfpbnn.exporting.draws import ONE_ROW, Draws
from tfpbnn.exporting.inputs import Inputs
from tfpbnn.types import Tensor

# Larger tensors are kept as variables: a graph holds 2 GiB at most.
_SMALL = 1024


class FixedDraws:
    """The outputs, `[S, B, ...]`, of S draws that are taken once.

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
        self, draws: Draws, inputs: Inputs, key: Tensor, max_bytes: int
    ):
        """Draws.

        Args:
            draws: the posterior's.
            inputs: of its model.
            key: of all draws.
            max_bytes: how large what is kept may be.

        Raises:
            ValueError: if it is larger.
        """
        self._inputs, self.num_samples = inputs, draws.num_samples
        kind = draws.kind_of_fixed()
        graph = _graph(draws, inputs, kind)
        self._structure = graph.structured_outputs
        key_in, number_in, *x = graph.inputs[: 2 + len(inputs.specs)]
        self._is_stacked = kind != "one"
        drawn = [key_in, number_in]
        # Of draws one by one each would keep its own of what they share.
        cut = _cut(graph.graph, drawn, x, graph.outputs, self._is_stacked)
        parts = 1 if self._is_stacked else self.num_samples
        self._check_size(sum(map(_bytes, cut)) * parts, max_bytes)
        self._rest = Rest(graph, [*x, *cut])
        if cut:
            draw = graph.prune([key_in, number_in], cut)
            numbers = tf.range(parts, dtype=tf.int64)
            found = [draw(key, number) for number in numbers]
        else:
            found = [[]] * parts
        self._kept = [list(map(_kept, values)) for values in found]
        total = sum(_bytes(t) for values in found for t in values)
        self._check_size(total, max_bytes)

    def __call__(self, x: dict[str, Tensor]) -> Any:
        """The outputs for inputs by name."""
        tensors = [x[name] for name in self._inputs.specs]
        parts = [
            self._rest(*tensors, *map(tf.convert_to_tensor, values))
            for values in self._kept
        ]
        flat = (
            parts[0]
            if self._is_stacked
            else [tf.stack(draws) for draws in zip(*parts, strict=True)]
        )
        return keras.tree.pack_sequence_as(self._structure, flat)

    def _check_size(self, size: int, max_bytes: int) -> None:
        if size > max_bytes:
            raise ValueError(
                f'draws="fixed" would keep {size / 2**20:.1f} MiB of weights, '
                f"{self.num_samples} draws of them, more than `max_bytes` "
                f"allows, {max_bytes / 2**20:.1f} MiB. Use fewer "
                'num_samples, draws="fresh" or a larger max_bytes.'
            )


def _graph(draws: Draws, inputs: Inputs, kind: str) -> Any:
    """The draws as a graph of their key, number and the inputs."""

    def run(key: Tensor, number: Tensor, *tensors: Tensor) -> Any:
        named = dict(zip(inputs.specs, tensors, strict=True))
        x = inputs.pack(named)
        if kind == "one":
            return draws.trace(kind, x, key, number)
        numbers = [tf.constant(n, tf.int64) for n in (0, draws.num_samples)]
        rows = [ONE_ROW] if kind == "apart" else []
        return draws.trace(kind, x, key, *numbers, *rows)

    arguments = [tf.TensorSpec([2], tf.int64), tf.TensorSpec([], tf.int64)]
    return traced(run, [*arguments, *inputs.specs.values()])


def _cut(
    graph: Any,
    drawn: list[Tensor],
    given: list[Tensor],
    outputs: list[Tensor],
    with_expensive: bool,
) -> list[Tensor]:
    """Tensors that meet what depends on `given`, and do not themselves.

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


def _bytes(tensor: Any) -> int:
    """The size of a tensor, as far as it is known."""
    size = tensor.shape.num_elements()
    return (size or 0) * tensor.dtype.size


def _kept(value: Tensor) -> Any:
    is_small = value.shape.num_elements() <= _SMALL
    if is_small or not value.dtype.is_floating:
        return value.numpy()  # becomes a constant of the graph
    return tf.Variable(value, trainable=False)
