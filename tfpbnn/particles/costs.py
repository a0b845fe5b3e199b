"""What draws of a model cost, counted from its graph."""

import dataclasses
import math
from typing import Any

import keras

from tfpbnn.layers.base import VariationalLayer
from tfpbnn.layers.noise_state import NoiseState
from tfpbnn.particles.graph import Call, Graph, is_own, size

# A normal takes the time of so many floating-point operations of a product,
# with the products on all cores (measured on two).
_NORMAL = 300
# The same for one that is not fused with what is done with it.
_PLAIN_NORMAL = 1000
# Draws in one call of a loop, at least: the bar moves, an interrupt is heard.
_DRAWS_PER_STEP = 25
# In a call, what all draws share is at most such a part of what they don't.
_SHARED = 0.1
# Below so many operations a draw, a loop's overhead is more than its work.
_SMALL = 2**26
# The same if draws have their inputs in common: they are one large product.
_SMALL_IF_SHARED = 2**29


@dataclasses.dataclass(frozen=True)
class Costs:
    """Counts per draw; per row where the name says so.

    Attributes:
        can_stack: whether all draws can go through the network at once.
        can_go_by_row: whether they can in the order of rows, too.
        can_draw_apart: whether noise on the outputs of layers has the
            distribution of each row.
        shares_inputs: whether random layers are given the same by all draws.
        flops_per_row: of what differs between draws.
        shared_flops_per_row: of what doesn't.
        normals: of the kernels.
        normals_per_row: of the outputs, if rows are drawn apart.
        bytes_per_row: of the outputs of all layers that differ between draws.
        shared_bytes_per_row: of those that don't.
        output_bytes_per_row: of the model's outputs.
    """

    can_stack: bool = False
    can_go_by_row: bool = False
    can_draw_apart: bool = False
    shares_inputs: bool = False
    flops_per_row: int = 0
    shared_flops_per_row: int = 0
    normals: int = 0
    normals_per_row: int = 0
    bytes_per_row: int = 0
    shared_bytes_per_row: int = 0
    output_bytes_per_row: int = 0

    def stacking_pays(self, rows: int) -> bool:
        """Whether to do all draws at once, rather than one by one."""
        limit = _SMALL_IF_SHARED if self.shares_inputs else _SMALL
        return self.can_stack and self._coherent(rows) < limit

    def drawing_apart_pays(self, rows: int) -> bool:
        """Whether to draw each row apart, of so many rows in all."""
        return self._apart_pays(rows, rows * _NORMAL, _NORMAL)

    def sharing_noise_pays(self, rows: int) -> bool:
        """Whether noise on outputs, one row for all, pays if unfused."""
        return self._apart_pays(rows, _PLAIN_NORMAL, _PLAIN_NORMAL)

    def _apart_pays(self, rows: int, output: int, weight: int) -> bool:
        """With what the noise of an output, and of a weight, costs."""
        # Two products: of the means and of the variances.
        apart = output * self.normals_per_row + 2 * self.flops_per_row * rows
        coherent = weight * self.normals + self.flops_per_row * rows
        return self.can_draw_apart and apart < coherent

    def draws_at_once(self, rows: int, budget: int) -> int:
        """How many stacked draws fit so many bytes, one or more."""
        each = self.bytes_per_row * rows + 4 * self.normals
        return max(1, budget // max(1, each))

    def draws_per_loop(self, rows: int, budget: int) -> int:
        """How many draws of a loop to do in one call, one or more.

        Each call does again what all draws share, and keeps its outputs.
        """
        shared = self.shared_flops_per_row * rows / _SHARED
        count = math.ceil(shared / max(1, self._coherent(rows)))
        most = budget // max(1, self.output_bytes_per_row * rows)
        return max(1, min(max(_DRAWS_PER_STEP, count), most))

    def _coherent(self, rows: int) -> int:
        """What a draw of the kernels and its products cost."""
        return _NORMAL * self.normals + self.flops_per_row * rows


def count(graph: Graph | None, x: Any) -> Costs:
    """The costs of a model; None for one whose calls can't be known.

    Args:
        graph: the model's.
        x: inputs, for the sizes that the model leaves open.
    """
    if graph is None:
        return Costs()
    unknown = graph.unknown_size(x)

    def sizes(tensors: list[Any]) -> int:
        return sum(size(tensor.shape[1:], unknown) for tensor in tensors)

    def flops(calls: list[Call]) -> int:
        return 2 * sum(call.weights_per_row(unknown) for call in calls)

    touched, random = graph.touched_calls, graph.random_calls
    untouched = [call for call in graph.calls if not call.is_touched]
    can_stack = all(map(_goes_row_by_row, touched)) and all(
        isinstance(call.op, NoiseState) and call.op.stacks() for call in random
    )
    shares_inputs = not any(
        graph.is_touched(x) for call in random for x in call.inputs
    )
    is_used_once = len({id(call.op) for call in random}) == len(random)
    return Costs(
        can_stack=can_stack,
        can_draw_apart=can_stack and is_used_once and all(map(_apart, random)),
        can_go_by_row=can_stack
        and shares_inputs
        and all(map(_goes_by_row, random)),
        shares_inputs=shares_inputs,
        flops_per_row=flops(touched),
        shared_flops_per_row=flops(untouched),
        normals=sum(_kernel_sizes(call) for call in random),
        normals_per_row=sum(sizes(call.outputs) for call in random),
        bytes_per_row=4 * sum(sizes(call.outputs) for call in touched),
        shared_bytes_per_row=4 * sum(sizes(call.outputs) for call in untouched),
        output_bytes_per_row=4 * sizes(keras.tree.flatten(graph.outputs)),
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
    is_apart = keeps_rows and not has_mask and not _goes_along_rows(call)
    return is_plain and is_apart


def _goes_along_rows(call: Call) -> bool:
    """Whether an operation along an axis, such as a softmax, is along rows."""
    if call.is_random:
        return False
    axes = getattr(call.op, "axis", ())
    if axes is None:  # all of them
        return True
    ranks = [len(x.shape) for x in call.inputs]
    return any(axis == 0 or -axis in ranks for axis in keras.tree.flatten(axes))


def _apart(call: Call) -> bool:
    x, *_ = call.inputs
    return call.op.rows_can_be_drawn_apart(tuple(x.shape))


def _goes_by_row(call: Call) -> bool:
    x, *_ = call.inputs
    return call.op.stacks_by_row(tuple(x.shape))


def _kernel_sizes(call: Call) -> int:
    if not getattr(call.op, "draws_weights", True):
        return 0
    if not isinstance(call.op, VariationalLayer):
        return sum(math.prod(v.shape) for v in call.op.trainable_variables)
    return sum(
        math.prod(p.loc.shape) for p in call.op.posteriors if p.is_random
    )
