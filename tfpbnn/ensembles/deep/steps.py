"""The same work for all members, in one graph."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.stacking import flatten, loop, map_tensors
from tfpbnn.ensembles.deep.stacks import MemberState, Stacks

# From a member's network, state and part of the data to a structure of tensors.
Work = Callable[[keras.Model, MemberState, Any], Any]
# Beyond this many side by side a trace takes longer than it saves.
_MOST_SIDE_BY_SIDE = 16


def choose_batch(num_members: int, member_batch: int | str) -> int:
    """How many members to do side by side, of the user's argument."""
    if member_batch == "auto":
        most = min(num_members, _MOST_SIDE_BY_SIDE)
        return max(n for n in range(1, most + 1) if num_members % n == 0)
    if not isinstance(member_batch, int) or not member_batch >= 1:
        raise ValueError(
            '`member_batch` must be "auto" or a positive integer. Received: '
            f"member_batch={member_batch!r}"
        )
    if num_members % member_batch:
        raise ValueError(
            "`member_batch` must divide `num_members`. Received: "
            f"member_batch={member_batch}, num_members={num_members}"
        )
    return member_batch


def for_each(stacks: Stacks, batch: int, work: Work, own: Any = None) -> Any:
    """The results of `work` for each member, stacked: `[M, ...]`.

    Args:
        stacks: the members.
        batch: how many are side by side in the graph, which is faster; a loop
            in the graph goes over such groups, which is shorter.
        work: see `Work`. What is None for one member is so for all.
        own: a structure of `[M, ...]` tensors, of each member's data.
    """
    if len(stacks.networks) == 1:
        work = _traced_once(work, stacks.networks[0])

    def one(member: Any) -> Any:
        part = map_tensors(lambda t: t[member], own)
        return work(stacks.network(member), stacks.slice(member), part)

    def group(first: Any, size: int = batch) -> Any:
        parts = [one(first + i) for i in range(size)]
        return map_tensors(lambda *a: tf.stack(a), *parts)

    if batch == stacks.size or tf.executing_eagerly():
        return group(0, stacks.size)
    return map_tensors(flatten, loop(group, range(0, stacks.size, batch)))


def _traced_once(work: Work, network: keras.Model) -> Work:
    """In a graph: traced for the first member, and called for the others.

    TensorFlow puts the calls' operations in their places before it runs them.
    So a random operation with a seed of its own, which Keras's layers don't
    have but a user's may, would give all members the same numbers: then each
    is traced.
    """
    if tf.executing_eagerly():
        return work
    traced = tf.function(
        lambda state, part: work(network, state, part), autograph=False
    )
    is_seeded: list[bool] = []  # known after the first trace

    def call(network: keras.Model, state: MemberState, part: Any) -> Any:
        if not is_seeded:
            graph = traced.get_concrete_function(state, part).graph
            is_seeded.append(_has_seeds(graph.as_graph_def()))
        if is_seeded[0]:
            return work(network, state, part)
        return traced(state, part)

    return call


def _has_seeds(definition: Any) -> bool:
    """Whether a graph, or a function in it, has a seeded operation."""
    functions = definition.library.function
    bodies = [definition.node, *(f.node_def for f in functions)]
    return any("seed" in node.attr for nodes in bodies for node in nodes)
