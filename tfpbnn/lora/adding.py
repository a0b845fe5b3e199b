"""Adapters on layers of a whole model."""

import functools
from typing import Any

import keras

from tfpbnn.base import checks
from tfpbnn.base.types import Config, Identifier
from tfpbnn.ensembles import DeepEnsemble
from tfpbnn.layers.lora.lora import (
    DEFAULT_PRIOR,
    LoRA,
    check_config,
    set_trainable,
)
from tfpbnn.layers.lora.methods import METHODS
from tfpbnn.lora import targets as choosing
from tfpbnn.networks import copying, reading, rewriting
from tfpbnn.training import models

# Of adapters that are deterministic: no method of a layer.
_ENSEMBLE = "ensemble"
_NUM_MEMBERS = 5


def add_lora(
    model: keras.Model,
    rank: int = 8,
    alpha: float | None = None,
    targets: Any = None,
    method: str = "blob",
    *,
    also_train: Any = (),
    prior: Identifier = DEFAULT_PRIOR,
    rate: float = 0.1,
    num_members: int | None = None,
    kl_weight: float | None = None,
    seed: int | None = None,
    in_place: bool = False,
) -> keras.Model:
    """A copy of a model that is frozen, with trainable adapters.

    Layers that are chosen, or have chosen layers in them, are put into
    `tfpbnn.layers.LoRA`; the others stay. As long as an adapter is not trained,
    the model's outputs are as before. The result is not compiled.

    Args:
        model: a built Functional or Sequential model, or one of KerasHub's
            backbones or tasks.
        rank: of what is added to each kernel, a positive integer.
        alpha: `alpha / rank` multiplies it; None, the default, for `rank`.
        targets: the layers with a kernel (Dense, EinsumDense, Embedding,
            convolutions) that get adapters, also within others: a pattern such
            as "query", "encoder_*/attention/query" or "*", of the names in the
            path to a layer (of what is around it: all in it), a class, a layer,
            a function of a layer that says whether it is chosen, or a list of
            these. None, the default, for the query and value projections of
            attention; without these, for all kernels but embeddings, of those
            that have this rank.
        method: "blob", "mean_field", "mc_dropout", "tfb" or "deterministic",
            as in `tfpbnn.layers.LoRA`; or "ensemble", for deterministic
            adapters of M members that share the backbone.
        also_train: the layers that train as a whole, such as a new head: as
            `targets`, but of the graph's layers. The others are frozen.
        prior: as in `tfpbnn.layers.LoRA`.
        rate: of the method "mc_dropout".
        num_members: the number M of the method "ensemble"; None for 5.
        kl_weight: as in `DenseFlipout`. None leaves it to `fit` of the result.
        seed: of the draws; each layer's is another one. None takes one from
            Python's `random`.
        in_place: whether `model`'s own layers are used: they are frozen, and
            no weight is copied, but those of `also_train`. So several adapted
            models can share one backbone. `model` computes what it did.

    Returns:
        A `tfpbnn.Sequential` or a `tfpbnn.Model`, which takes the inputs of
        the graph (of a task of KerasHub's, what its preprocessor makes). Of the
        method "ensemble", a `tfpbnn.ensembles.DeepEnsemble`, whose members
        have adapters, and heads, of their own.

    Raises:
        TypeError: if `model` is subclassed, or `targets` of no known type.
        ValueError: if `model` has adapters already, `rank` is not a positive
            integer or above that of a chosen kernel, or nothing is chosen (the
            candidates are listed).

    Example:
    ```python
    plain = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(50, activation="relu"),
        keras.layers.Dense(1, name="head"),
    ])
    adapted = tfpbnn.lora.add_lora(plain, rank=2, also_train="head")
    print(tfpbnn.lora.report(adapted))
    ```

    Reference:
        [Hu et al., 2022](https://arxiv.org/abs/2106.09685);
        [Wang et al., 2024](https://arxiv.org/abs/2406.11675);
        [Wang et al., 2023](https://arxiv.org/abs/2310.00035), ensembles
    """
    reading.check_readable(model)
    checks.integer("rank", rank, least=1)
    checks.one_of("method", method, sorted([*METHODS, _ENSEMBLE]))
    members = _num_members(num_members, method)
    _check_plain(model)
    trained = _trained(model, also_train)
    chosen = choosing.choose(model, targets, rank, trained)
    configs: dict[int, Config] = {}
    for target in chosen:
        index = len(configs)
        config = configs.setdefault(
            id(target.leaf),
            {
                "rank": rank,
                "alpha": alpha,
                "method": method if members is None else "deterministic",
                "targets": [],
                "prior": prior,
                "rate": rate,
                "kl_weight": kl_weight,
                "seed": None if seed is None else seed + index,
            },
        )
        config["targets"].append(target.index)
    if members is None:
        return adapt(model, configs, trained, in_place)
    return _ensemble(model, configs, trained, in_place, members)


def _num_members(value: int | None, method: str) -> int | None:
    """The number of members of an ensemble; None for other methods."""
    found = checks.positive_integer.optional("num_members", value, "5")
    if method == _ENSEMBLE:
        return found or _NUM_MEMBERS
    if found is not None:
        raise ValueError(
            f'`num_members` must be None unless method="{_ENSEMBLE}". '
            f"Received: num_members={value}, method={method!r}"
        )
    return None


def _ensemble(
    model: keras.Model,
    configs: dict[int, Config],
    trained: list[Any],
    in_place: bool,
    num_members: int,
) -> keras.Model:
    """Members with adapters of their own on one backbone."""
    if not in_place:
        model, configs, trained = _copied(model, configs, trained)
    members = [
        adapt(model, configs, trained, in_place=True)
        for _ in range(num_members)
    ]
    return DeepEnsemble.from_models(members, share_frozen=True)


def adapt(
    model: keras.Model,
    configs: dict[int, Config],
    trained: list[Any],
    in_place: bool,
) -> keras.Model:
    """A plain model with adapters.

    Args:
        model: the plain model.
        configs: the arguments of the `LoRA` around a layer of the graph, by the
            layer's id.
        trained: layers that train as a whole.
        in_place: whether layers are shared.
    """
    if not in_place:
        _check_configs(model, configs)
    copier = copying.Copier()
    is_list = isinstance(model, keras.Sequential)
    heads = set(map(id, trained))

    def make(layer: Any) -> Any:
        if id(layer) in heads:  # also of models that share all else
            return copier(layer)
        plain = layer if in_place else copier(layer)
        return LoRA(plain, **configs[id(layer)])

    made, pairs = rewriting.replace(
        model,
        models.Sequential if is_list else models.Model,
        lambda layer: id(layer) in configs or id(layer) in heads,
        make,
        copier,
        shares=in_place,
    )
    for old, new in pairs:
        plain = new.layer if isinstance(new, LoRA) else new
        if plain is not old:
            copying.copy_state(old, plain)
    _freeze(made, list(map(copier, trained)))
    return made


def _copied(
    model: keras.Model, configs: dict[int, Config], trained: list[Any]
) -> tuple[keras.Model, dict[int, Config], list[Any]]:
    """Copies a plain model, and says the same of the copy's layers."""
    _check_configs(model, configs)
    copier = copying.Copier()
    ids = {*configs, *map(id, trained)}
    new, pairs = rewriting.replace(
        model,
        reading.plain_class(model),
        lambda layer: id(layer) in ids,
        copier,
        copier,
    )
    for old, made in pairs:
        copying.copy_state(old, made)
    found = {
        id(made): configs[id(old)] for old, made in pairs if id(old) in configs
    }
    return new, found, list(map(copier, trained))


def _check_configs(model: keras.Model, configs: dict[int, Config]) -> None:
    """Raises if a layer to adapt can't be copied."""
    for layer in reading.leaves(model):
        if id(layer) in configs:
            check_config(layer)


def _freeze(model: keras.Model, trained: list[Any]) -> None:
    """Freezes all layers but adapters, and those that train as a whole."""
    ids = set(map(id, trained))
    set_trainable(model, True)
    for layer in list(reading.leaves(model)):
        if not isinstance(layer, LoRA):
            set_trainable(layer, id(layer) in ids)


def _trained(model: keras.Model, items: Any) -> list[Any]:
    if isinstance(items, list | tuple) and not items:
        return []
    leaves = list(reading.leaves(model))
    is_chosen = functools.partial(
        choosing.matches, items=items, argument="also_train"
    )
    found = [layer for layer in leaves if is_chosen([layer])]
    if not found:
        raise ValueError(
            "`also_train` matched no layer. Received: "
            f"also_train={items!r}, for a model with "
            f"{[layer.name for layer in leaves if layer.weights]}"
        )
    return found


def _check_plain(model: keras.Model) -> None:
    adapted = [x.name for x in reading.leaves(model) if isinstance(x, LoRA)]
    if adapted:
        raise ValueError(
            f"`model` must have no adapters yet. Received: {model.name}, with "
            f"adapters on {adapted}. Add them to the plain model, or `merge` "
            "these first."
        )
