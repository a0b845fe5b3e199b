"""Assigns targets, losses and weights to a model's outputs, by name."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras


def names_of(outputs: Any, names: Sequence[str]) -> list[str]:
    """Returns a distinct name for each output.

    Args:
        outputs: a model's outputs, in their structure. If it is a dict, its
            keys are the names.
        names: the names that Keras gives them, as far as it knows the model.
    """
    paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
    if isinstance(outputs, Mapping):
        found = ["/".join(map(str, path)) for path in paths]
    elif len(names) == len(paths):
        found = list(names)
    elif len(paths) == 1:
        found = ["output"]
    else:
        found = ["/".join(["output", *map(str, path)]) for path in paths]
    return each_once(found)


def each_once(names: Iterable[str]) -> list[str]:
    """The names, of which those that are there already get a number."""
    unique: list[str] = []
    for name in names:
        numbered = (f"{name}_{i}" for i in itertools.count(1))
        names_to_try = itertools.chain([name], numbered)
        unique.append(next(n for n in names_to_try if n not in unique))
    return unique


def by_output(
    argument: str,
    given: Any,
    names: Sequence[str],
    needed: Sequence[str] | None = None,
) -> list[Any]:
    """Returns an argument's entry for each output.

    Args:
        argument: the name of the argument, for errors.
        given: a dict by the outputs' names; a list in the order of all
            outputs, or of those that need an entry; or, if only one output
            needs an entry, that entry.
        names: the names of all outputs, in their order.
        needed: the names of the outputs that need an entry; None for all.

    Returns:
        An entry for each output; None for those that need none.

    Raises:
        ValueError: if a name is missing or unknown, or if there are more or
            fewer entries than outputs.
    """
    needed = list(names if needed is None else needed)
    if isinstance(given, Mapping):
        found = _flat(given)
        missing = [name for name in needed if name not in found]
        unknown = [name for name in found if name not in names]
        if missing or unknown:
            raise ValueError(
                f"{argument} must have an entry for each output by its name: "
                f"{needed}. Received: {list(found)}"
                + (f", without {missing}" if missing else "")
                + (f", with the unknown {unknown}" if unknown else "")
            )
        return [found[name] if name in needed else None for name in names]
    entries = _entries(given, len(needed))
    if len(entries) == len(names):
        pairs = zip(names, entries, strict=True)
        return [entry if name in needed else None for name, entry in pairs]
    if len(entries) == len(needed):
        left = iter(entries)
        return [next(left) if name in needed else None for name in names]
    raise ValueError(
        f"{argument} must have an entry for each of the model's "
        f"{len(needed)} outputs, {needed}. Received: {len(entries)}"
    )


def one_or_each(
    argument: str, given: Any, names: Sequence[str], needed: Sequence[str]
) -> list[Any]:
    """Like `by_output`, where one array, or None, is that of all outputs."""
    if not isinstance(given, Mapping | list | tuple):
        given = [given] * len(needed)
    return by_output(argument, given, names, needed)


def entry_per_output(
    given: Any, names: Sequence[str], default: Any
) -> list[Any]:
    """Returns each output's entry of what `fit` or `compile` was given.

    Unlike `by_output` it raises no error: Keras says what it can't take.

    Args:
        given: a dict by the outputs' names, a list in their order, or one entry
            for all of them.
        names: the names of the outputs, in their order.
        default: the entry of each of several outputs, if `given` is neither a
            dict nor a list.
    """
    if isinstance(given, Mapping):
        return [given.get(name) for name in names]
    if isinstance(given, list | tuple):
        fits = len(given) == len(names)
        return list(given) if fits else [None] * len(names)
    return [given] if len(names) == 1 else [default] * len(names)


def _flat(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Flattens a dict; the names of nested entries are paths, joined by "/"."""
    found: dict[str, Any] = {}
    for key, entry in given.items():
        if isinstance(entry, Mapping):
            inner = _flat(entry).items()
            found |= {f"{key}/{name}": value for name, value in inner}
        else:
            found[str(key)] = entry
    return found


def _entries(given: Any, count: int) -> list[Any]:
    """Lists the entries; a list of numbers is the array of one output."""
    if not isinstance(given, list | tuple):
        return [given]
    flat = keras.tree.flatten(given)
    numbers = not any(hasattr(leaf, "shape") and leaf.shape for leaf in flat)
    is_one = count == 1 and numbers and not all(x is None for x in flat)
    return [given] if is_one else list(flat)
