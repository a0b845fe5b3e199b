"""Finds what a call does beside outputs that depend on its inputs alone.

The code of Keras and of this package is known: its random layers say so
themselves, in inference nothing else in it draws, and state is kept where a
layer is `stateful`. Any other code is traced once, and its graph is read: the
operations that draw, and the variables that are written.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tfpbnn import fused, random
from tfpbnn.base.keras_private import is_seed_state
from tfpbnn.base.types import Tensor
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.posterior import Posterior
from tfpbnn.networks.reading import is_known, is_stateful, parts_of
from tfpbnn.networks.within import within
from tfpbnn.particles.state import KeptState

# Operations that TensorFlow counts as stateful, and that only read, or run
# functions, which are looked into.
_HARMLESS = re.compile(
    "Assert|Print|PrintV2|If|While|Case|StatefulPartitionedCall|VarHandleOp"
    "|ReadVariableOp|ResourceGather(Nd)?|LookupTable(Find|Size|Export)(V2)?"
    "|Anonymous.*|(Mutable)?HashTable.*|LookupTableImport(V2)?"
)
# Those that draw from a seed that they are given.
_SEEDED = re.compile("Stateless(?!If|While|Case)|RandomIndexShuffle")


@dataclasses.dataclass(frozen=True)
class Effects:
    """The effects of a call, or a model, beside outputs of its inputs alone.

    Attributes:
        sources: the random layers and the posteriors in it.
        is_noisy: whether anything else in it draws, or may draw.
        in_order: whether draws must be made one after another, since what one
            draw writes decides what the next one draws.
        counters: the variables that seeds are made of, and each draw changes.
        states: all other Keras variables that it writes.
    """

    sources: tuple[Any, ...] = ()
    is_noisy: bool = False
    in_order: bool = False
    counters: tuple[keras.Variable, ...] = ()
    states: tuple[keras.Variable, ...] = ()

    @property
    def is_random(self) -> bool:
        """Whether outputs differ between draws of one input."""
        return self.is_noisy or bool(self.sources)

    def check_random(self, name: str, otherwise: str) -> None:
        """Raises if draws of one input are all the same.

        Args:
            name: what the caller calls the model.
            otherwise: the caller's argument for one pass of it.
        """
        if not self.is_random:
            raise ValueError(
                f"{name} has nothing random in it, so all draws are the same. "
                "Make a posterior of it, by `tfpbnn.laplace`, "
                "`tfpbnn.mc_dropout` or `tfpbnn.to_variational`; of a network "
                "that `optimizers.IVON` trained by `optimizer.posterior(model)`"
                ", and of a sampler's or SWAG's by that of its callback. Or "
                "build it of variational layers, such as "
                f"`tfpbnn.layers.DenseFlipout`; or pass {otherwise} for a "
                "single pass"
            )

    @property
    def is_pure(self) -> bool:
        """Whether there is nothing but random layers and posteriors."""
        return not (self.is_noisy or self.states)

    @property
    def num_draws(self) -> int | None:
        """The number of different draws; None if there is no limit."""
        counts: list[Any] = [
            part.num_draws
            if isinstance(part, Posterior)
            else part.drawing().num_draws
            for part in self.sources
        ]
        if self.is_noisy or not counts or None in counts:
            return None
        return math.lcm(*counts)

    @property
    def has_mean(self) -> bool:
        """Whether one network stands for all draws."""
        has_means = all(getattr(s, "has_mean", True) for s in self.sources)
        return has_means and self.num_draws is None and self.num_means == 1

    @property
    def num_means(self) -> int:
        """The number of networks that stand for all, each at its own means."""
        return math.lcm(
            *(
                part.num_means
                if isinstance(part, Posterior)
                else part.num_members
                for part in self.sources
            )
        )


def joined(effects: Iterable[Effects]) -> Effects:
    """Joins the effects of several calls."""
    all_effects = list(effects)

    def each(name: str) -> tuple[Any, ...]:
        return _distinct(x for e in all_effects for x in getattr(e, name))

    return Effects(
        each("sources"),
        any(e.is_noisy for e in all_effects),
        any(e.in_order for e in all_effects),
        each("counters"),
        each("states"),
    )


def effects_of(
    op: Any, function: Callable[[Any], Any], inputs: Callable[[], Any]
) -> Effects:
    """Finds the effects of a call.

    Args:
        op: the layer, model or other operation that is called.
        function: a function that does the call, for tensors.
        inputs: a function that returns the TensorSpecs of these tensors.
    """
    if is_known(op) and not is_stateful(op):
        return Effects(tuple(_sources(op)))
    try:
        traced = _traced(function, inputs())
    except Exception:  # If it can't be called at all, the draws will say so.
        traced = Effects(is_noisy=True, in_order=True)
    # Members are chosen by the number of a draw: they ask for no key.
    members = [
        source
        for source in _sources(op)
        if isinstance(source, Posterior) or source.noise is None
    ]
    return dataclasses.replace(
        traced, sources=_distinct((*traced.sources, *members))
    )


def is_random(op: Any) -> bool:
    """Says whether an operation is or holds a random layer or a posterior."""
    return any(True for _ in _sources(op))


def check_posteriors(op: Any) -> None:
    """Raises if a posterior can't be drawn from within another model.

    This is so if its class overrides `Posterior.call`.
    """
    for part in parts_of(op):
        is_posterior = isinstance(part, Posterior)
        if is_posterior and type(part).call is not Posterior.call:
            raise TypeError(
                "A posterior in another model must define `average`, which "
                "`Posterior.call` calls outside of draws, and no `call`. "
                f"Received: {part.name} of class {type(part).__name__}"
            )


def _sources(op: Any) -> Iterator[Any]:
    """Yields the random layers and posteriors that a layer is or holds."""
    for part in parts_of(op):
        is_layer = isinstance(part, RandomLayer) and part.drawing().is_random
        if is_layer or isinstance(part, Posterior):
            yield part


class _Asked(random.DrawScope):
    """A scope that records which layers and posteriors ask for keys."""

    def __init__(self) -> None:
        first = tf.constant(0, tf.int64)
        super().__init__(random.as_key(0), indices=first)
        self.sources: list[Any] = []

    def key_for(self, layer: Any) -> Tensor | None:
        self.sources.append(layer)
        return super().key_for(layer)

    def key_for_posterior(self, posterior: Any) -> Tensor | None:
        self.sources.append(posterior)
        return super().key_for_posterior(posterior)


class _Written(KeptState):
    """Records the variables that are written, and writes none."""

    def __init__(self, variables: list[keras.Variable]) -> None:
        super().__init__()
        self._variables = variables

    def get_current_value(self, variable: keras.Variable) -> Tensor | None:
        return None  # The graph is to show where values come from.

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        self._variables.append(update[0])
        super().add_update(update)


def _traced(function: Callable[[Any], Any], inputs: Any) -> Effects:
    scope = _Asked()
    written: list[keras.Variable] = []

    def run(inputs: Any) -> Any:
        with random.entered(scope), _Written(written):
            return within(function=lambda: function(inputs), training=False)

    with fused.plain(addressed=True):
        graph = (
            tf.function(run, input_signature=[inputs], autograph=False)
            .get_concrete_function()
            .graph
        )
    operations = _Operations(graph)
    seeds = [v for v in written if is_seed_state(v)]
    others = [v for v in _distinct(written) if not is_seed_state(v)]
    counters = [v for v in others if operations.seeded_by(v)]
    return Effects(
        _distinct(scope.sources),
        bool(seeds or counters or operations.are_random),
        bool(counters or operations.are_random),
        tuple(counters),
        tuple(v for v in others if not any(v is c for c in counters)),
    )


class _Operations:
    """The operations of a graph, and of the functions in it.

    Attributes:
        are_random: whether any of them draws, or may draw: a stateful operation
            that does more than read a variable or table.
    """

    def __init__(self, graph: Any):
        self._graph = graph
        self._inner: dict[str, list[Any]] | None = None
        self.are_random = any(
            _is_random(kind)
            for op in graph.get_operations()
            for kind in self._kinds(op)
        )

    def seeded_by(self, variable: keras.Variable) -> bool:
        """Says whether a seed is made of an integer variable."""
        if not keras.backend.is_int_dtype(variable.dtype):
            return False
        handle = variable.value.handle
        made = {y.name for x, y in self._graph.captures if x is handle}
        for op in self._graph.get_operations():
            if made.isdisjoint(x.name for x in op.inputs):
                continue
            if any(map(_SEEDED.match, self._kinds(op))):
                return True
            made.update(y.name for y in op.outputs)
        return False

    def _kinds(self, op: Any) -> Iterator[str]:
        """Yields the type of an operation, and of those in its functions."""
        yield op.type
        seen: set[str] = set()
        names = _functions(op.node_def)
        while names:
            name = names.pop()
            if name not in seen:
                seen.add(name)
                for node in self._nodes(name):
                    yield node.op
                    names += _functions(node)

    def _nodes(self, function: str) -> list[Any]:
        if self._inner is None:
            self._inner = {
                f.signature.name: list(f.node_def)
                for f in self._graph.as_graph_def().library.function
            }
        return self._inner.get(function, [])


def _is_random(kind: str) -> bool:
    definition = op_def_registry.get(kind)
    is_stateful = definition is None or definition.is_stateful
    return is_stateful and not _HARMLESS.fullmatch(kind)


def _functions(node: Any) -> list[str]:
    """Lists the names of the functions that a node calls."""
    return [
        function.name
        for value in node.attr.values()
        for function in (value.func, *value.list.func)
        if function.name
    ]


def _distinct(found: Iterable[Any]) -> tuple[Any, ...]:
    """Keeps each object once, in the order of first appearance."""
    return tuple({id(x): x for x in found}.values())
