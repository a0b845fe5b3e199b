"""Chooses how an ensemble is fitted, and prepares the data for it."""

import dataclasses
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tfpbnn import random
from tfpbnn.base import checks, data
from tfpbnn.base.stacking import map_tensors
from tfpbnn.base.types import Array, Config
from tfpbnn.callbacks.kl_weight import data_length_weights, with_kl_weight
from tfpbnn.distribute import replicas
from tfpbnn.ensembles.deep.feeds import MemberFeed, example_weights
from tfpbnn.ensembles.deep.history import MemberHistory
from tfpbnn.ensembles.jobs.executors import fit_in_jobs
from tfpbnn.layers.kl import managed_weights
from tfpbnn.networks import reading
from tfpbnn.training import data_checks, steps_per_call, units
from tfpbnn.training.fitting import WeightedFit
from tfpbnn.training.optimizer_step import inner, is_elementwise

# What `fit` takes beside Keras's arguments.
_OWN = ("executor", "directory", "members")
# What steps of Keras score with.
_SCORING = ("compute_loss", "compute_metrics")


@dataclasses.dataclass(frozen=True)
class Options:
    """Holds how members are trained, as `DeepEnsemble` explains it."""

    bootstrap: str | None = None
    shuffle: str = "shared"
    member_batch: int | str = "auto"
    adversarial_epsilon: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.bootstrap not in (None, "poisson"):
            raise ValueError(
                '`bootstrap` must be None or "poisson". Received: '
                f"bootstrap={self.bootstrap!r}"
            )
        checks.one_of("shuffle", self.shuffle, ["shared", "own"])
        checks.non_negative("adversarial_epsilon", self.adversarial_epsilon)

    @property
    def needs_feed(self) -> bool:
        """Says whether members see rows or weights of their own."""
        return self.bootstrap is not None or self.shuffle == "own"

    def bootstrap_counts(self, rows: int, num_members: int) -> Array:
        """Draws how often each member sees each row, `[N, M]`."""
        counts = random.generator(self.seed).poisson(1.0, (rows, num_members))
        return counts.astype("float32")

    def config(self) -> Config:
        return dataclasses.asdict(self)


def fit(
    model: Any,
    plain: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Fits an ensemble, where `plain` is Keras's own `fit` of it."""
    own = {name: kwargs.pop(name) for name in _OWN if name in kwargs}
    bound = inspect.signature(plain).bind(*args, **kwargs)
    given = bound.arguments
    _check(model, given)
    for network in model.templates():  # theirs count for nothing
        for weight in managed_weights(network):
            weight.assign(0.0)
    if own.get("executor") is not None:
        weight_kl(model, given)
        return fit_in_jobs(model, given, **own)
    if own:
        raise ValueError(
            f"`{next(iter(own))}` needs `executor`. Received: executor=None"
        )
    _check_devices(model)
    if reason := _reason_to_train_alone(model):
        warnings.warn(
            f"Members are trained one after the other: {reason}.", stacklevel=3
        )
        weight_kl(model, given)
        return fit_in_jobs(model, given, executor=None)
    _check_clipping(model.optimizer)
    given["callbacks"] = _with_own_callbacks(model, given)
    if not model.options.needs_feed:
        model.use_layout("shared")
        data.as_keras_takes(given)
        networks = model.templates()
        copies = model.num_members // len(networks)
        with steps_per_call.several(model, given, networks, copies):
            return plain(*bound.args, **bound.kwargs)
    is_own = model.options.shuffle == "own"
    model.use_layout("own" if is_own else "weights")
    return plain(**_fed(model, given))


def _check(model: Any, given: dict[str, Any]) -> None:
    """Raises if nothing can be learned in this way; warns if little can.

    Puts data into the forms that Keras takes.
    """
    check_compiled(model)
    if isinstance(given.get("shuffle"), str):
        raise ValueError(
            "`shuffle` of `fit` must be a bool; an order of each member's own "
            'is asked of the constructor, by shuffle="own". Received: '
            f"shuffle={given['shuffle']!r}"
        )
    data.as_keras_takes(given)
    data_checks.check_data(model, given)
    units.warn(model, given)
    if model.members_are_same():
        warnings.warn(
            "All members start at the same weights, so they learn much the "
            "same. Does the function that builds them set a seed, as by "
            "`keras.utils.set_random_seed` or `seed=` of an initializer?",
            stacklevel=4,
        )


def check_compiled(model: Any) -> None:
    """Raises unless the model was compiled: Keras would later, and unclearly.

    Raises:
        ValueError: if it was not, or if its optimizer trains more than weights,
            which are all that an ensemble keeps of its members.
    """
    if not model.compiled:
        raise ValueError(
            f"`compile` must be called before `fit`. Received: {model.name}, "
            "which was not compiled"
        )
    optimizer = inner(model.optimizer)
    if hasattr(optimizer, "posterior"):
        raise ValueError(
            "`optimizer` must be one that trains weights alone, since members "
            "keep no deviations of theirs. Received: "
            f"{type(optimizer).__name__}. Train each network by its own `fit`, "
            "and pass the posteriors, a list of `optimizer.posterior(model)`, "
            "to DeepEnsemble.from_models: the ensemble is their mixture"
        )


def _reason_to_train_alone(model: Any) -> str:
    """Says why members can't be trained side by side; nothing if they can."""
    if not is_elementwise(model.optimizer):
        return (
            f"a step of {type(model.optimizer).__name__} depends on whole "
            "tensors, so that stacks can't be trained by one"
        )
    for network in model.templates():
        if steps := own_steps(network):
            return f"{type(network).__name__} has {steps} of its own"
    return ""


def own_steps(network: keras.Model) -> list[str]:
    """Lists the methods of Keras's steps that a network's class replaces."""
    return [
        name
        for name in ("train_step", "test_step", *_SCORING)
        if getattr(type(network), name)
        not in (getattr(keras.Model, name), getattr(WeightedFit, name, None))
    ]


def check_scoring(model: Any) -> None:
    """Raises if members are scored in ways that the ensemble knows nothing of.

    Raises:
        ValueError: if their class has such methods, which are named; if
            several replicas share the rows.
    """
    if replicas.are_several():
        raise ValueError(
            "`evaluate` must be of one device, where the members' losses are "
            f"averaged. Received: {model.name}, with {replicas.count()} "
            "replicas. Use tfpbnn.evaluate, which shares its work"
        )
    for network in model.templates():
        steps = [name for name in own_steps(network) if name != "train_step"]
        if steps:
            raise ValueError(
                "`evaluate` must be of members that Keras's steps score. "
                f"Received: {type(network).__name__}, which has {steps} of its "
                "own. Use tfpbnn.evaluate, or `evaluate` of each of `members`"
            )


def _check_devices(model: Any) -> None:
    """Raises if replicas would share the batches of members side by side."""
    count = model.distribute_strategy.num_replicas_in_sync
    if count > 1:
        raise ValueError(
            "`executor` must be given where an ensemble was built under a "
            "strategy of several replicas, since members need nothing of each "
            f"other. Received: executor=None, and {count} replicas. Pass such "
            "as tfpbnn.ensembles.process_pool(devices=...); or train the "
            "ensemble outside of the scope, and load it inside to predict on "
            "all devices"
        )


def _check_clipping(optimizer: Any) -> None:
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None and (inner.clipnorm or inner.global_clipnorm):
        raise ValueError(
            "`clipnorm` and `global_clipnorm` are those of a member, which is "
            "not known where losses are scaled. Received: "
            f"{type(inner).__name__} that clips, under mixed_float16. Use "
            "`clipvalue`, or mixed_bfloat16"
        )
    clips = optimizer.clipnorm or optimizer.global_clipnorm
    if clips and optimizer.gradient_accumulation_steps:
        raise ValueError(
            "`clipnorm` and `global_clipnorm` are those of a member's gradient "
            "of a step, not of a sum over steps. Received: "
            f"{type(optimizer).__name__} that clips, with "
            "gradient_accumulation_steps="
            f"{optimizer.gradient_accumulation_steps}. Use `clipvalue`"
        )


def _with_own_callbacks(model: Any, given: dict[str, Any]) -> Any:
    """Returns the callbacks with those of all ensembles first."""
    callbacks = given.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        weight_kl(model, given)
        callbacks.append(MemberHistory())
        return callbacks
    return [MemberHistory(), *with_kl_weight(given)]


def _fed(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Returns Keras's arguments, with the data in a `MemberFeed`."""
    given = dict(given)
    x = given.get("x")
    if data.is_stream(x) or isinstance(x, Iterator):
        raise ValueError(
            "An order or weights of each member's own need all rows at hand. "
            f"Received: x of type {type(x).__name__}. Pass arrays, "
            'or make the ensemble with bootstrap=None and shuffle="shared"'
        )
    names = reading.input_names(model)
    # `fit` has looked for NaN that members don't see to.
    x = data.as_arrays("x", given.pop("x", None), names, is_finite=False)
    y = data.as_arrays("y", given.pop("y", None))
    weights = example_weights(
        y, given.pop("sample_weight", None), given.pop("class_weight", None)
    )
    split = given.pop("validation_split", 0.0)
    rows = (x, y, weights)
    if split and given.get("validation_data") is None:
        start = math.floor(data.length(x) * (1 - split))
        given["validation_data"] = _part(rows, slice(start, None))
        rows = _part(rows, slice(0, start))
    x, y, weights = rows
    feed = MemberFeed(
        x,
        y,
        weights,
        batch_size=given.pop("batch_size", None) or 32,
        shuffle=given.pop("shuffle", True),
        num_orders=model.num_members if model.options.shuffle == "own" else 1,
        seed=model.options.seed,
        counts=bootstrap_counts(model, x),
    )
    # Keras would shuffle whole batches.
    return given | {"x": feed, "shuffle": False}


def bootstrap_counts(model: Any, x: Any) -> Array | None:
    """Draws how often each member sees each row, `[N, M]`; None for once."""
    if model.options.bootstrap is None:
        return None
    return model.options.bootstrap_counts(data.length(x), model.num_members)


def _part(rows: tuple[Any, Any, Any], part: slice) -> tuple[Any, Any, Any]:
    return map_tensors(lambda a: a[part], rows)


def weight_kl(model: Any, given: dict[str, Any]) -> None:
    """Weights the KL of members as `tfpbnn.Model` does, before training."""
    for weight in data_length_weights(given):
        weight.set_model(model)
        weight.on_train_begin()
        weight.on_train_end()
