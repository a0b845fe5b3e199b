"""Networks of one architecture: whether they are, and how more are made."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras

from tfpbnn.base.types import Config
from tfpbnn.networks import copying, states
from tfpbnn.networks.reading import check_built
from tfpbnn.particles.effects import is_random

# What networks of one architecture may differ in.
_IGNORED = ("build_config", "compile_config", "seed", "shared_object_id")


def make(build: Any, num_members: int) -> list[keras.Model]:
    """`num_members` networks with weights of their own.

    Args:
        build: a function that makes a network, or a network to make more like.
        num_members: how many.

    Raises:
        TypeError: if it is neither.
        ValueError: if the function gives one object, or layer, twice.
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
    """A function that makes networks of configs; of one, as many as wanted."""
    remaining = itertools.cycle(configs)
    return lambda: copying.from_config(next(remaining))


def num_draws(members: Sequence[keras.Model]) -> int | None:
    """One of each member; no end of them if one is random itself."""
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


def check_given(models: Any) -> list[keras.Model]:
    """A list of networks, of which members are made."""
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
    """The networks, if they are built models that share nothing trained."""
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
    return list(networks)


def _are_compatible(some: list[Any], others: list[Any]) -> bool:
    """Whether shapes are the same, as far as axes are known."""
    if list(map(len, some)) != list(map(len, others)):
        return False
    pairs = zip(sum(some, ()), sum(others, ()), strict=True)
    return all(a == b or None in (a, b) for a, b in pairs)


def are_alike(networks: Sequence[keras.Model]) -> bool:
    """Whether one network can stand for all with other weights in it."""
    first, *others = map(_signature, networks)
    return all(other == first for other in others)


def have_same_states(networks: Sequence[keras.Model]) -> bool:
    """Whether what networks have beside trained weights is the same.

    One network can't stand for others with vocabularies of their own, say.
    """
    first, *others = networks
    return all(states.are_same(first, other) for other in others)


def _signature(network: keras.Model) -> Any:
    """The config, with numbers for the names in it."""
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
