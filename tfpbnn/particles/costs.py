"""What draws of a model cost, counted from its graph."""

import dataclasses
import math
from typing import Any

from tfpbnn.layers.base import VariationalLayer
from tfpbnn.particles.graph import Call, Graph, is_own

# A normal takes the time of so many floating-point operations of a product,
# with the products on all cores (measured on two).
_NORMAL = 300
# Below so many operations a draw, a loop's overhead is more than its work.
_SMALL = 2**26


@dataclasses.dataclass(frozen=True)
class Costs:
    """Counts per draw; per row where the name says so.

    Attributes:
        can_stack: whether all draws can go through the network at once.
        can_draw_apart: whether noise on the outputs of layers has the
            distribution of each row.
        flops_per_row: of what differs between draws.
        normals: of the kernels.
        normals_per_row: of the outputs, if rows are drawn apart.
        bytes_per_row: of the outputs of all layers that differ between draws.
        shared_bytes_per_row: of those that don't.
    """

    can_stack: bool = False
    can_draw_apart: bool = False
    flops_per_row: int = 0
    normals: int = 0
    normals_per_row: int = 0
    bytes_per_row: int = 0
    shared_bytes_per_row: int = 0

    def stacking_pays(self, rows: int) -> bool:
        """Whether to do all draws at once, rather than one by one."""
        return self.can_stack and self._coherent(rows) < _SMALL

    def drawing_apart_pays(self, rows: int) -> bool:
        """Whether to draw each row apart, of so many rows in all."""
        # Two products: of the means and of the variances.
        apart = (_NORMAL * self.normals_per_row + 2 * self.flops_per_row) * rows
        return self.can_draw_apart and apart < self._coherent(rows)

    def _coherent(self, rows: int) -> int:
        """What a draw of the kernels and its products cost."""
        return _NORMAL * self.normals + self.flops_per_row * rows


def count(graph: Graph | None) -> Costs:
    """The costs of a model; None for one whose calls can't be known."""
    if graph is None:
        return Costs()
    touched, random = graph.touched_calls, graph.random_calls
    untouched = [call for call in graph.calls if not call.is_touched]
    can_stack = all(map(_goes_row_by_row, touched)) and all(
        isinstance(call.op, VariationalLayer) and call.op.stacks()
        for call in random
    )
    is_used_once = len({id(call.op) for call in random}) == len(random)
    return Costs(
        can_stack=can_stack,
        can_draw_apart=can_stack and is_used_once and all(map(_apart, random)),
        flops_per_row=2 * sum(call.weights_per_row for call in touched),
        normals=sum(_kernel_sizes(call) for call in random),
        normals_per_row=sum(_size_per_row(call.outputs) for call in random),
        bytes_per_row=4 * sum(_size_per_row(call.outputs) for call in touched),
        shared_bytes_per_row=4
        * sum(_size_per_row(call.outputs) for call in untouched),
    )


def _goes_row_by_row(call: Call) -> bool:
    """Whether rows of several draws may be put into one batch."""
    is_plain = (
        call.is_random or not hasattr(call.op, "weights") or is_own(call.op)
    )
    keeps_rows = all(len(y.shape) and y.shape[0] is None for y in call.outputs)
    has_mask = any(
        getattr(x, "_keras_mask", None) is not None for x in call.inputs
    )
    return is_plain and keeps_rows and not has_mask


def _apart(call: Call) -> bool:
    (x,) = call.inputs
    return call.op.rows_can_be_drawn_apart(tuple(x.shape))


def _kernel_sizes(call: Call) -> int:
    if not isinstance(call.op, VariationalLayer):
        return sum(math.prod(v.shape) for v in call.op.trainable_variables)
    return sum(
        math.prod(p.loc.shape) for p in call.op.posteriors if p.is_random
    )


def _size_per_row(tensors: list[Any]) -> int:
    return sum(math.prod(n or 1 for n in t.shape[1:]) for t in tensors)
