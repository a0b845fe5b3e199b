"""What draws of a model cost, counted from its graph."""

import dataclasses
import math
from typing import Any

import keras

from tfpbnn.layers.linear.base import VariationalLayer
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.calls import Call
from tfpbnn.networks.reading import size
from tfpbnn.particles import rows as of_rows
from tfpbnn.particles.split import DrawGraph, is_random, weights_per_row

# A normal takes the time of so many floating-point operations of a product,
# with the products on all cores (measured on two).
_NORMAL = 300
# The same for one that is not fused with what is done with it.
_PLAIN_NORMAL = 1000
# Draws in one call of a loop, and operations, one or two seconds of them, at
# least: after each call the bar moves, and an interrupt is heard.
_DRAWS_PER_STEP = 25
_FLOPS_PER_STEP = 2**37
# In a call, what all draws share is at most such a part of what they don't.
_SHARED = 0.1
# Below so many operations a draw, a loop's overhead is more than its work.
_SMALL = 2**26
# The same if draws have their inputs in common: they are one large product.
_SMALL_IF_SHARED = 2**29


@dataclasses.dataclass(frozen=True)
class Work:
    """What a draw takes in one way to draw.

    Attributes:
        normals: for all rows: of kernels.
        normals_per_row: of outputs.
        flops_per_row: of products that are not the same for all draws.
    """

    normals: int = 0
    normals_per_row: int = 0
    flops_per_row: int = 0

    def at(self, rows: int) -> int:
        """As a number of floating-point operations."""
        normals = self.normals + self.normals_per_row * rows
        return _NORMAL * normals + self.flops_per_row * rows


@dataclasses.dataclass(frozen=True)
class Costs:
    """Counts per draw; per row where the name says so.

    Attributes:
        can_stack: whether all draws can go through the network at once.
        shares_inputs: whether random layers are given the same by all draws.
        coherent: drawing weights, the same for all rows.
        marginal: drawing outputs of all random layers, each row's apart; None
            where that has not the distribution of each row.
        mixed: drawing outputs of those layers whose inputs all draws share,
            and weights of the others; None where there are none of the former,
            or marginal draws are the same.
        obstacle: what is in the way of marginal draws, in words.
        shared_flops_per_row: of what doesn't differ between draws.
        bytes_per_row: of the outputs of all layers that differ between draws.
        shared_bytes_per_row: of those that don't.
        output_bytes_per_row: of the model's outputs.
    """

    can_stack: bool = False
    shares_inputs: bool = False
    coherent: Work = Work()
    marginal: Work | None = None
    mixed: Work | None = None
    obstacle: str = ""
    shared_flops_per_row: int = 0
    bytes_per_row: int = 0
    shared_bytes_per_row: int = 0
    output_bytes_per_row: int = 0

    def work(self, draws: str) -> Work:
        """That of a way by its name, if it is there."""
        found = getattr(self, draws)
        assert isinstance(found, Work)
        return found

    def cheapest(self, rows: int) -> str:
        """The name of the way that takes least, for so many rows in all."""
        names = ("coherent", "mixed", "marginal")
        there = [name for name in names if getattr(self, name) is not None]
        return min(there, key=lambda name: self.work(name).at(rows))

    def stacking_pays(self, rows: int, draws: str = "coherent") -> bool:
        """Whether to do all draws at once, rather than one by one."""
        is_wide = self.shares_inputs and draws == "coherent"
        limit = _SMALL_IF_SHARED if is_wide else _SMALL
        return self.can_stack and self.work(draws).at(rows) < limit

    def sharing_noise_pays(self, rows: int) -> bool:
        """Whether outputs' noise, one row for all, pays if it is not fused."""
        if self.marginal is None:
            return False
        more = self.marginal.flops_per_row - self.coherent.flops_per_row
        less = self.coherent.normals - self.marginal.normals_per_row
        return more * rows < _PLAIN_NORMAL * less

    def draws_at_once(self, rows: int, budget: int) -> int:
        """How many stacked draws fit so many bytes, one or more."""
        each = self.bytes_per_row * rows + 4 * self.coherent.normals
        return max(1, budget // max(1, each))

    def draws_per_loop(
        self, rows: int, budget: int, draws: str = "coherent"
    ) -> int:
        """How many draws of a loop to do in one call, one or more.

        Each call does again what all draws share, and keeps its outputs.
        """
        shared = self.shared_flops_per_row * rows / _SHARED
        each = self.work(draws).at(rows)
        # Of a model whose calls can't be known nothing is counted.
        count = each and math.ceil(max(shared, _FLOPS_PER_STEP) / each)
        most = budget // max(1, self.output_bytes_per_row * rows)
        return max(1, min(max(_DRAWS_PER_STEP, count), most))


def count(graph: DrawGraph | None, x: Any) -> Costs:
    """The costs of a model; None for one whose calls can't be known.

    Args:
        graph: the model's.
        x: inputs, for the sizes that the model leaves open.
    """
    if graph is None:
        return Costs()
    unknown = graph.unknown_size(x)

    def sizes(tensors: list[Any]) -> int:
        return 4 * sum(size(tensor.shape[1:], unknown) for tensor in tensors)

    random = graph.random_calls
    untouched = graph.untouched_calls
    can_stack = all(map(of_rows.can_stack, graph.touched_calls)) and all(
        isinstance(call.op, RandomLayer) and call.op.stacks() for call in random
    )
    shares_inputs = not any(graph.has_touched_inputs(call) for call in random)
    keeps_rows = all(map(of_rows.are_kept, graph.calls))
    is_marginal = (
        can_stack
        and keeps_rows
        and all(of_rows.can_draw_apart(graph, call) for call in random)
    )
    first = of_rows.first_calls(graph) if keeps_rows else []
    is_mixed = bool(first) and not (is_marginal and len(first) == len(random))
    return Costs(
        can_stack=can_stack,
        shares_inputs=shares_inputs,
        coherent=_work(graph, [], unknown),
        marginal=_work(graph, random, unknown) if is_marginal else None,
        mixed=_work(graph, first, unknown) if is_mixed else None,
        obstacle=of_rows.obstacle(graph),
        shared_flops_per_row=2
        * sum(weights_per_row(call, unknown) for call in untouched),
        bytes_per_row=sum(sizes(call.outputs) for call in graph.touched_calls),
        shared_bytes_per_row=sum(sizes(call.outputs) for call in untouched),
        output_bytes_per_row=sizes(keras.tree.flatten(graph.outputs)),
    )


def _work(graph: DrawGraph, apart: list[Call], unknown: int) -> Work:
    """That of draws for which the outputs of some calls are drawn."""
    normals = normals_per_row = flops = 0
    for call in graph.touched_calls:
        products = 2 * weights_per_row(call, unknown)
        if not any(call is other for other in apart):
            normals += _kernel_sizes(call) if is_random(call.op) else 0
            flops += products
            continue
        normals_per_row += sum(size(y.shape[1:], unknown) for y in call.outputs)
        if graph.has_touched_inputs(call):
            flops += 2 * products  # of the means and of the variances
    return Work(normals, normals_per_row, flops)


def _kernel_sizes(call: Call) -> int:
    if not getattr(call.op, "draws_weights", True):
        return 0
    if not isinstance(call.op, VariationalLayer):
        return sum(math.prod(v.shape) for v in call.op.trainable_variables)
    return sum(
        math.prod(p.loc.shape) for p in call.op.posteriors if p.is_random
    )
