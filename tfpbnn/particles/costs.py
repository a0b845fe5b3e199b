"""What draws of a model cost, counted from its graph."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from tfpbnn.networks.calls import Call
from tfpbnn.networks.reading import size
from tfpbnn.particles import rows as of_rows
from tfpbnn.particles.split import DrawGraph, weights_per_row
from tfpbnn.particles.ways import Draws, Way

# The floating-point operations of a product that take the time of one normal,
# with the products on all cores (measured on two).
_NORMAL = 300
# Those that take the time of a normal in a pass that is not fused.
_PLAIN_NORMAL = 1000
# The least that a call of a loop does: draws, and operations of one or two
# seconds. After each call the bar moves, and an interrupt is heard.
_DRAWS_PER_STEP = 25
_FLOPS_PER_STEP = 2**37
# What all draws share is at most this part of what they don't, in a call.
_SHARED = 0.1
# Below this count of operations a draw, a loop has more overhead than work.
_SMALL = 2**26
# The limit if draws have their inputs in common: they are one large product.
_SMALL_IF_SHARED = 2**29


@dataclasses.dataclass(frozen=True)
class Work:
    """What one draw takes, of all that is not the same for all draws.

    Attributes:
        normals: how many normals are drawn for all rows together.
        normals_per_row: how many more are drawn for each row.
        flops_per_row: floating-point operations of products.
    """

    normals: int = 0
    normals_per_row: int = 0
    flops_per_row: int = 0

    def at(self, rows: int) -> int:
        """The work as a count of floating-point operations."""
        normals = self.normals + self.normals_per_row * rows
        return _NORMAL * normals + self.flops_per_row * rows


@dataclasses.dataclass(frozen=True)
class Costs:
    """Counts for one draw; for one row where the name says so.

    Attributes:
        can_stack: whether all draws can go through the network at once.
        shares_inputs: whether random layers are given the same by all draws.
        works: the work of each kind of draws that is exact. Marginal draws are
            there where they have the distribution of each row; mixed ones
            where some random layers are given the same by all draws, and
            marginal draws are not the same.
        obstacle: what is in the way of marginal draws, in words.
        shared_flops_per_row: operations of what is the same for all draws.
        bytes_per_row: the size of what differs between draws: outputs of
            layers.
        shared_bytes_per_row: the size of other layers' outputs.
        output_bytes_per_row: the size of the model's outputs.
    """

    can_stack: bool = False
    shares_inputs: bool = False
    works: Mapping[Draws, Work] = dataclasses.field(
        default_factory=lambda: {Draws.COHERENT: Work()}
    )
    obstacle: str = ""
    shared_flops_per_row: int = 0
    bytes_per_row: int = 0
    shared_bytes_per_row: int = 0
    output_bytes_per_row: int = 0

    def cheapest(self, rows: int) -> Draws:
        """The kind of draws that takes least, for this count of rows."""
        return min(self.works, key=lambda draws: self.works[draws].at(rows))

    def way(self, draws: Draws, rows: int) -> Way:
        """The way to make draws of a kind that takes least time."""
        is_marginal = draws is Draws.MARGINAL
        return Way(draws, is_marginal or self.stacking_pays(rows, draws))

    def stacking_pays(self, rows: int, draws: Draws = Draws.COHERENT) -> bool:
        """Whether to do all draws at once, rather than one by one."""
        is_wide = self.shares_inputs and draws is Draws.COHERENT
        limit = _SMALL_IF_SHARED if is_wide else _SMALL
        return self.can_stack and self.works[draws].at(rows) < limit

    def sharing_noise_pays(self, rows: int) -> bool:
        """Whether marginal draws that all rows share pay, if not fused."""
        marginal = self.works.get(Draws.MARGINAL)
        if marginal is None:
            return False
        coherent = self.works[Draws.COHERENT]
        more = marginal.flops_per_row - coherent.flops_per_row
        less = coherent.normals - marginal.normals_per_row
        return more * rows < _PLAIN_NORMAL * less

    def draws_per_call(self, way: Way, rows: int, budget: int) -> int:
        """How many draws to make in one call, one or more.

        Args:
            way: how they are made.
            rows: how many rows there are.
            budget: the bytes that they may take.
        """
        if way.is_stacked:
            normals = self.works[Draws.COHERENT].normals
            return max(
                1, budget // max(1, self.bytes_per_row * rows + 4 * normals)
            )
        # Each call does again what all draws share, and keeps its outputs.
        shared = self.shared_flops_per_row * rows / _SHARED
        each = self.works[way.draws].at(rows)
        # Of a model whose calls can't be known nothing is counted.
        count = each and math.ceil(max(shared, _FLOPS_PER_STEP) / each)
        most = budget // max(1, self.output_bytes_per_row * rows)
        return max(1, min(max(_DRAWS_PER_STEP, count), most))


def count(graph: DrawGraph | None, x: Any) -> Costs:
    """Counts what draws of a model cost.

    Args:
        graph: the model's calls; None if they can't be known.
        x: inputs, for the sizes that the model leaves open.
    """
    if graph is None:
        return Costs()
    unknown = graph.unknown_size(x)

    def sizes(tensors: list[Any]) -> int:
        return 4 * sum(size(tensor.shape[1:], unknown) for tensor in tensors)

    random = graph.random_calls
    untouched = graph.untouched_calls
    is_pure = graph.effects.is_pure
    can_stack = (
        is_pure
        and all(map(of_rows.can_stack, graph.touched_calls))
        and all(graph.drawing(call).can_stack for call in random)
    )
    shares_inputs = not any(graph.has_touched_inputs(call) for call in random)
    keeps_rows = is_pure and all(map(of_rows.are_kept, graph.calls))
    is_marginal = (
        can_stack
        and keeps_rows
        and all(of_rows.can_be_marginal(graph, call) for call in random)
    )
    first = of_rows.first_calls(graph) if keeps_rows else []
    # The cheapest is the first of equals.
    works = {Draws.COHERENT: _work(graph, [], unknown)}
    if first and not (is_marginal and len(first) == len(random)):
        works[Draws.MIXED] = _work(graph, first, unknown)
    if is_marginal:
        works[Draws.MARGINAL] = _work(graph, random, unknown)
    return Costs(
        can_stack=can_stack,
        shares_inputs=shares_inputs,
        works=works,
        obstacle=of_rows.obstacle(graph),
        shared_flops_per_row=2
        * sum(weights_per_row(call, unknown) for call in untouched),
        bytes_per_row=sum(sizes(call.outputs) for call in graph.touched_calls),
        shared_bytes_per_row=sum(sizes(call.outputs) for call in untouched),
        output_bytes_per_row=sizes(keras.tree.flatten(graph.outputs)),
    )


def _work(graph: DrawGraph, noisy: list[Call], unknown: int) -> Work:
    """The work of a draw for which the outputs of `noisy` calls are drawn."""
    normals = normals_per_row = flops = 0
    for call in graph.touched_calls:
        products = 2 * weights_per_row(call, unknown)
        if not any(call is other for other in noisy):
            normals += graph.drawing(call).num_normals
            flops += products
            continue
        normals_per_row += sum(size(y.shape[1:], unknown) for y in call.outputs)
        if graph.has_touched_inputs(call):
            flops += 2 * products  # of the means and of the variances
    return Work(normals, normals_per_row, flops)
