"""Makes and compares networks of one architecture."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn.base.types import Config
from tfpbnn.likelihoods import Likelihood
from tfpbnn.networks import copying, states
from tfpbnn.networks.reading import check_built, parts_of
from tfpbnn.particles.effects import is_random

# What networks of one architecture may differ in.
_IGNORED = ("build_config", "compile_config", "seed", "shared_object_id")


def make(build: Any, num_members: int) -> list[keras.Model]:
    """Makes `num_members` networks, each with its own weights.

    Args:
        build: a function that makes a network, or a network for others to be
            like.
        num_members: the number of networks.

    Raises:
        TypeError: if `build` is neither.
        ValueError: if the function returns the same network or layer twice.
    """
    if isinstance(build, keras.Model):
        return [copying.fresh(build) for _ in range(num_members)]
    if not callable(build):
        raise TypeError(
            "`model` must be a keras.Model, or a function that builds one. "
            f"Received: model={build!r}"
        )
    return check_distinct([build() for _ in range(num_members)])


def again(configs: Sequence[Config]) -> Callable[[], keras.Model]:
    """Returns a function that makes networks of configs, over and over."""
    remaining = itertools.cycle(configs)
    return lambda: copying.from_config(next(remaining))


def num_draws(members: Sequence[keras.Model]) -> int | None:
    """Counts the draws, one of each member; None if a member is random."""
    return None if any(map(is_random, members)) else len(members)


def check_stacks(members: Sequence[keras.Model]) -> None:
    """Raises unless variables have the same shapes, one by one."""
    shapes = [[tuple(v.shape) for v in m.weights] for m in members]
    for number, own in enumerate(shapes):
        if own != shapes[0]:
            raise ValueError(
                "Members must have variables of the same shapes to be trained "
                f"together. Received: {own} of member {number}, {shapes[0]} of "
                "the first. Networks that differ go into "
                "`DeepEnsemble.from_models`"
            )


def check_alike(members: Sequence[keras.Model]) -> None:
    """Raises unless members differ in nothing but their weights."""
    check_stacks(members)
    if not are_alike(members):
        raise ValueError(
            "Members must differ in nothing but their weights. Received: "
            "networks with different configs. Use `HyperEnsemble` for "
            "hyperparameters of each member's own"
        )


def frozen_places(network: keras.Model) -> set[int]:
    """Finds the weights of frozen layers among the variables of a network."""
    parts = [part for part in parts_of(network) if not part.trainable]
    frozen = {id(weight) for part in parts for weight in part.weights}
    return {i for i, v in enumerate(network.variables) if id(v) in frozen}


def check_same_frozen(members: Sequence[keras.Model]) -> None:
    """Raises unless members have the same values of frozen weights."""
    first, *others = members
    places = frozen_places(first)
    for number, other in enumerate(others, start=1):
        for place in places:
            own, its = first.variables[place], other.variables[place]
            if own is not its and not np.array_equal(own, its):
                raise ValueError(
                    "`share_frozen=True` needs members whose frozen weights "
                    f"are the same. Received: another {own.path!r} of member "
                    f"{number} than of the first"
                )


def check_trainable(members: Sequence[keras.Model]) -> None:
    """Raises if a weight is set by its gradient, which stacks don't keep."""
    for member in members:
        for v in member.trainable_variables:
            if getattr(v, "overwrite_with_gradient", False):
                raise ValueError(
                    "Members that are quantized to float8 can't be trained "
                    "together: their scales are replaced by what stands in the "
                    f"place of gradients. Received: {v.path} of {member.name}. "
                    "Train each by its own `fit`, then use "
                    "`DeepEnsemble.from_models`"
                )


def check_given(models: Any) -> list[keras.Model]:
    """Checks a list of networks of which members are to be made."""
    is_list = isinstance(models, Iterable) and not isinstance(models, str)
    if not is_list or isinstance(models, keras.Model):
        raise TypeError(
            f"`models` must be a list of keras.Models. Received: {models!r}"
        )
    listed = list(models)
    if not listed:
        raise ValueError("`models` must have one model or more. Received: 0")
    return check_distinct(listed)


def check_distinct(networks: Sequence[Any]) -> list[keras.Model]:
    """Returns the networks, if they are built and share nothing trainable."""
    for network in networks:
        check_built(network)
    parts = [
        id(part)
        for network in networks
        for part in (network, *network.trainable_variables)
    ]
    if len(set(parts)) < len(parts):
        raise ValueError(
            "Members must be networks with trainable weights of their own: a "
            "function must build a new one each time that it is called, layers "
            "and all. Received: the same object twice"
        )
    for end in ("inputs", "outputs"):
        # Subclasses have none.
        tensors = [getattr(network, end, None) for network in networks]
        shapes = [[tuple(t.shape) for t in own] for own in tensors if own]
        if not all(_are_compatible(own, shapes[0]) for own in shapes):
            raise ValueError(
                f"Members must have {end} of the same shape. Received: {end} "
                f"of shapes {shapes}"
            )
    check_meaning(networks)
    return list(networks)


def check_meaning(networks: Sequence[Any]) -> None:
    """Raises where compiled networks disagree in what their outputs mean.

    An ensemble has one likelihood, and reads the outputs of all members by it:
    those that were adapted to other targets would be in wrong units.
    """
    compiled = [n for n in networks if getattr(n, "loss", None) is not None]
    meanings = [keras.tree.map_structure(_meaning, n.loss) for n in compiled]
    if any(meaning != meanings[0] for meaning in meanings):
        raise ValueError(
            "Members must be compiled with the same likelihood, of targets in "
            "the same units: one `adapt(y)` for all of them. Received: "
            f"{meanings}"
        )


def _meaning(loss: Any) -> Any:
    """What a loss says of outputs: its own name and reduction don't matter."""
    if not isinstance(loss, Likelihood):
        return "a loss of Keras or a function"
    config = loss.get_config()
    kept = {k: v for k, v in config.items() if k not in ("name", "reduction")}
    return type(loss).__name__, kept


def _are_compatible(some: list[Any], others: list[Any]) -> bool:
    """Says whether shapes are the same, as far as axes are known."""
    if list(map(len, some)) != list(map(len, others)):
        return False
    pairs = zip(sum(some, ()), sum(others, ()), strict=True)
    return all(a == b or None in (a, b) for a, b in pairs)


def are_alike(networks: Sequence[keras.Model]) -> bool:
    """Says whether one network can stand for all, with their weights in it."""
    first, *others = map(_signature, networks)
    return all(other == first for other in others)


def have_same_states(networks: Sequence[keras.Model]) -> bool:
    """Says whether networks have the same states beside trained weights.

    One network can't stand for others that have other vocabularies, say.
    """
    first, *others = networks
    return all(states.are_same(first, other) for other in others)


def _signature(network: keras.Model) -> Any:
    """Returns the config, with numbers in place of the names in it."""
    config = _stripped(network.get_config())
    numbers = {name: i for i, name in enumerate(dict.fromkeys(_names(config)))}

    def numbered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: numbered(part) for key, part in value.items()}
        if isinstance(value, list):
            return [numbered(part) for part in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    return numbered(config)


def _names(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(config.get("name"), str):
            yield config["name"]
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _names(value)


def _stripped(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            key: _stripped(value)
            for key, value in config.items()
            if key not in _IGNORED and not key.endswith("_initializer")
        }
    if isinstance(config, list | tuple):
        return [_stripped(value) for value in config]
    return config
