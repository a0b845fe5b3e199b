"""Which layers of a model, and which in them, are to have adapters."""

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from tfpbnn.base.keras_private import held_layers
from tfpbnn.layers.lora import factors
from tfpbnn.layers.lora.lora import parts_of
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks import reading

# Of attention, as in Hu et al., 2022: Keras's and KerasHub's names.
_DEFAULT = ("query", "value")


@dataclasses.dataclass(frozen=True)
class Target:
    """A layer with a kernel, and where in a model it is.

    Attributes:
        leaf: the layer of the model's graph that holds it, or is it.
        part: the layer itself.
        chain: the layers and models around it, itself last.
    """

    leaf: Any
    part: Any
    chain: tuple[Any, ...]

    @property
    def index(self) -> int:
        """Which one it is of all that the leaf holds."""
        ids = [id(part) for part in parts_of(self.leaf)]
        return ids.index(id(self.part))

    @property
    def path(self) -> str:
        """The names along the chain."""
        return "/".join(layer.name for layer in self.chain)


def find(model: keras.Model) -> list[Target]:
    """All layers of a model that are of a kind which takes adapters."""
    found: dict[int, Target] = {}
    for chain in _leaves(model, ()):
        for inner in _within(chain):
            part = inner[-1]
            if factors.is_linear(part) and part.built:
                target = Target(chain[-1], part, inner)
                found.setdefault(id(part), target)
    return list(found.values())


def choose(
    model: keras.Model, targets: Any, rank: int, trained: list[Any]
) -> list[Target]:
    """Those of a model that a user means.

    Args:
        model: a built model.
        targets: the user's argument.
        rank: the user's argument.
        trained: layers that train as a whole, and so need no adapters.

    Raises:
        ValueError: if nothing is chosen (candidates are listed), or one can't
            have an adapter of this rank.
        TypeError: if `targets` is of another type.
    """
    ids = {id(part) for layer in trained for part in parts_of(layer)}
    every = [t for t in find(model) if id(t.part) not in ids]
    if targets is None:
        chosen = _default(every, rank)
    else:
        chosen = [t for t in every if matches(t.chain, targets, "targets")]
    if not chosen:
        names = [t.path for t in every if not factors.obstacle(t.part)]
        raise ValueError(
            "`targets` matched no layer that takes adapters. Received: "
            f"targets={targets!r}, for a model with {names} to choose from"
        )
    for target in chosen:
        _check(target, rank, model)
    return chosen


def matches(chain: Iterable[Any], items: Any, argument: str) -> bool:
    """Whether a user means a layer, or what is around it.

    Args:
        chain: the layers and models around it, itself last.
        items: a pattern of names, a class, a layer, a function of a layer, or
            a list of these.
        argument: what the user's is called.

    Raises:
        TypeError: for anything else.
    """
    layers = list(chain)
    is_list = isinstance(items, list | tuple | set)
    return any(
        _matches_one(layers, item, argument)
        for item in (items if is_list else [items])
    )


def _matches_one(chain: list[Any], item: Any, argument: str) -> bool:
    if isinstance(item, str):
        names = [layer.name for layer in chain]
        # What is next to each other in the path, such as "attention/query".
        runs = (
            "/".join(names[start:stop])
            for start in range(len(names))
            for stop in range(start + 1, len(names) + 1)
        )
        return any(fnmatch.fnmatchcase(run, item) for run in runs)
    if isinstance(item, keras.layers.Layer):
        return any(layer is item for layer in chain)
    if isinstance(item, type):
        return any(isinstance(layer, item) for layer in chain)
    if callable(item):
        return bool(item(chain[-1]))
    raise TypeError(
        f"`{argument}` must be a pattern of names, a class of layers, a layer, "
        "a function of a layer that says whether it is chosen, or a list of "
        f"these. Received: {item!r} of type {type(item).__name__}"
    )


def _default(every: list[Target], rank: int) -> list[Target]:
    able = [t for t in every if not factors.obstacle(t.part)]
    chosen = [t for t in able if t.part.name in _DEFAULT and len(t.chain) > 1]
    if not chosen:
        chosen = [
            t for t in able if not factors.factors_of(t.part).takes_indices
        ]
    large = [t for t in chosen if _highest_rank(t) >= rank]
    return large or chosen


def _highest_rank(target: Target) -> int:
    return factors.factors_of(target.part).highest_rank


def _check(target: Target, rank: int, model: keras.Model) -> None:
    if reason := factors.obstacle(target.part):
        raise ValueError(
            f"The layer {target.path!r} can't have an adapter: it {reason}. "
            "Leave it out of `targets`."
        )
    highest = _highest_rank(target)
    if rank > highest:
        raise ValueError(
            "`rank` must be at most that of each kernel. Received: "
            f"rank={rank}, for {target.path!r}, of rank {highest}"
        )
    for layer in reading.leaves(model):
        is_held = any(part is target.part for part in parts_of(layer))
        if layer is not target.leaf and (is_held or _shares(layer, target)):
            raise ValueError(
                f"The layer {target.path!r} can't have an adapter: the layer "
                f"{layer.name!r} holds its kernel too, and would be without "
                "it. Leave it out of `targets`."
            )


def _shares(layer: Any, target: Target) -> bool:
    own = {id(weight) for weight in target.part.weights}
    return any(id(weight) in own for weight in layer.weights)


def leaves_by_path(model: keras.Model) -> dict[str, Any]:
    """The layers of a model's graph, by the names along the way to each.

    A rewritten model has them under the same paths. A layer that is in several
    models is under the first in the alphabet.
    """
    paths: dict[str, Any] = {}
    for chain in _leaves(model, ()):
        if chain[-1].weights:
            paths["/".join(layer.name for layer in chain)] = chain[-1]
    found: dict[int, str] = {}
    for path in sorted(paths):
        found.setdefault(id(paths[path]), path)
    return {path: paths[path] for path in found.values()}


def _leaves(model: Any, around: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for layer in model.layers:
        chain = (*around, layer)
        if reading.can_read(layer):
            yield from _leaves(layer, chain)
        else:
            yield chain


def _within(chain: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(chain[-1], RandomLayer):
        return  # draws on its own
    yield chain
    for part in held_layers(chain[-1], recursive=False):
        yield from _within((*chain, part))
