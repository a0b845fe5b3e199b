"""Checks, before the first step, that a strategy can train a model."""

import math
import warnings
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import data, keras_private
from tfpbnn.distribute import agreement, own_rows, replicas, steps

_warned: weakref.WeakSet[Any] = weakref.WeakSet()
_with_steps: weakref.WeakSet[Any] = weakref.WeakSet()


def begin(model: Any, given: dict[str, Any], is_training: bool) -> None:
    """Raises if a model's strategy can't train it, or not as one device does.

    Args:
        model: the model that is about to be trained or evaluated.
        given: the arguments of Keras's `fit` or `evaluate`, by name. Where
            several replicas share the batches, data that bring their own are
            replaced by such that yield copies.
        is_training: whether the arguments are those of `fit`.

    Raises:
        ValueError: naming what can't be done, and what to do in its place.
    """
    if keras.distribution.distribution() is not None:
        warnings.warn(
            "`keras.distribution.set_distribution` changes nothing on "
            "TensorFlow: the model is trained on one device. Build and compile "
            "it inside of `with tfpbnn.distribute.strategy().scope():`",
            stacklevel=3,
        )
    strategy = model.distribute_strategy
    _check_kind(strategy)
    _check_scope(model, strategy)
    if strategy.num_replicas_in_sync > 1:
        _check_settings(model, strategy)
        _check_batches(model, strategy, given, is_training)
        if is_training:
            _warn_of_statistics(model)
        _warn_of_own_steps(model)
        for name in ("x", "validation_data"):
            if name in given:
                given[name] = own_rows.copied(given[name])
    if replicas.is_multi_worker(strategy):
        _check_shards(given)
        agreement.check(model, given, strategy, is_training)


def _warn_of_own_steps(model: Any) -> None:
    """Warns, once for each model, of steps that are written by the user."""
    own = [
        name
        for name in ("train_step", "test_step", "compute_loss")
        if getattr(type(model), name).__module__.split(".")[0]
        not in ("keras", "tfpbnn")
    ]
    if own and model not in _with_steps:
        _with_steps.add(model)
        count = model.distribute_strategy.num_replicas_in_sync
        warnings.warn(
            f"`{type(model).__name__}` has {own} of its own, which {count} "
            "replicas run, each for its rows. Their gradients are added up, so "
            "a loss must be the replica's share: `super().compute_loss(...)` "
            "is; divide means and regularizers that you add by "
            "`tf.distribute.get_strategy().num_replicas_in_sync`",
            stacklevel=4,
        )


def warn_of_keras(model: Any) -> None:
    """Warns, once for each model, where Keras's own steps may be wrong.

    Args:
        model: a model that is about to be trained.
    """
    count = model.distribute_strategy.num_replicas_in_sync
    is_ours = isinstance(model, steps.SharedSteps)
    if is_ours or count < 2 or model in _warned:
        return
    _warned.add(model)
    warnings.warn(
        f"Keras weights batches wrongly that don't divide by the {count} "
        "replicas, such as the last, and clips the gradients of each replica "
        "alone. Make the model a tfpbnn.Model or tfpbnn.Sequential, which are "
        "right for any batch; or drop what is left over, by "
        "`batch(..., drop_remainder=True)`",
        stacklevel=3,
    )


def _check_kind(strategy: Any) -> None:
    """Raises if a strategy is none of those that Keras 3 trains with."""
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "`strategy` must keep a copy of the weights at each replica, as "
            "MirroredStrategy and MultiWorkerMirroredStrategy do. Received: "
            "ParameterServerStrategy, which Keras 3 does not train with"
        )
    kind = tf.distribute.MultiWorkerMirroredStrategy
    if isinstance(strategy, kind) and not replicas.num_workers(strategy):
        raise ValueError(
            "`TF_CONFIG` must name the workers, in the environment of each, "
            "before MultiWorkerMirroredStrategy is made. Received: no workers, "
            "so that each process would train alone. On one machine take "
            "tf.distribute.MirroredStrategy, or tfpbnn.distribute.strategy(), "
            "which chooses"
        )


def _check_scope(model: Any, strategy: Any) -> None:
    """Raises if variables are not the strategy's."""
    known = [*model.variables, *model.metrics_variables]
    if model.optimizer is not None:
        known += model.optimizer.variables
    for variable in known:
        value = variable.value
        if not isinstance(value, tf.Variable):
            continue  # of a stateless scope
        if not strategy.extended.variable_created_in_scope(value):
            raise ValueError(
                "`model` must be built and compiled, with its optimizer and "
                "metrics, inside of `with strategy.scope():`. Received: "
                f"{model.name}, whose variable {variable.path} was made "
                f"outside of the scope of its {type(strategy).__name__}"
            )


def _check_settings(model: Any, strategy: Any) -> None:
    """Raises if what was compiled fails, or is wrong, on several replicas."""
    count = strategy.num_replicas_in_sync
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if getattr(optimizer, "gradient_accumulation_steps", None):
        raise _refused(
            "`gradient_accumulation_steps` must be None",
            f"{optimizer.gradient_accumulation_steps} for {count} replicas, of "
            "which TensorFlow can't add up the gradients in a branch",
            "Take larger batches",
        )
    if optimizer is not model.optimizer:
        raise _refused(
            "`dtype` must not be mixed_float16",
            f"a LossScaleOptimizer for {count} replicas, which looks for "
            "overflow in the first one alone, so that the weights of all may "
            "become NaN",
            'Take "mixed_bfloat16" or "float32"',
        )
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return  # which compiles sums, and loops of them
    if model.jit_compile is True:
        raise _refused(
            "`jit_compile` must be False or 'auto'",
            f"True for {count} replicas, whose sums XLA can't compile",
            "Passes over large weights are compiled within each replica all "
            "the same",
        )
    if model.steps_per_execution > 1 and not _has_simple_sums(strategy):
        raise _refused(
            "`steps_per_execution` must be 1",
            f"{model.steps_per_execution} for {count} replicas, whose sums "
            "TensorFlow can't make in a loop",
            "Or make the strategy with `cross_device_ops="
            "tf.distribute.ReductionToOneDevice()`",
        )


def _has_simple_sums(strategy: Any) -> bool:
    """Says whether sums over replicas are ordinary operations of a graph."""
    # Strategies don't tell in public what they were given.
    sums = getattr(strategy.extended, "_cross_device_ops", None)
    return isinstance(sums, tf.distribute.ReductionToOneDevice)


def _refused(rule: str, received: str, mend: str) -> ValueError:
    return ValueError(
        f"{rule} where several replicas train together. Received: {received}. "
        f"{mend}"
    )


def _check_batches(
    model: Any, strategy: Any, given: Mapping[str, Any], is_training: bool
) -> None:
    """Raises if replicas would always, or harmfully, be without rows."""
    x, count = given.get("x"), strategy.num_replicas_in_sync
    if x is None or data.is_stream(x):
        return
    size = given.get("batch_size") or 32
    if size < count:
        raise ValueError(
            "`batch_size` must be at least the number of replicas, which share "
            f"each batch. Received: batch_size={size} for {count} replicas"
        )
    rows = data.count_examples(x, given.get("validation_split") or 0.0)
    sizes = {min(size, rows), rows % size}
    short = next((n for n in sizes if leaves_none(n, count)), None)
    if short is None:
        return
    received = f"{short} rows in a batch for {count} replicas"
    if is_training and (found := _with_own_statistics(model)):
        raise ValueError(
            "`batch_size` must leave rows for each replica, in the last batch "
            "too, where layers normalize by the rows of one replica: without "
            f"rows their means are NaN. Received: {received}, and {found}. "
            "Take another batch size, or synchronized=True"
        )
    if _on_processors(strategy) and (found := _convolving(model)):
        raise ValueError(
            "`batch_size` must leave rows for each replica, in the last batch "
            "too, where images are convolved on CPUs: TensorFlow fails without "
            f"rows. Received: {received}, and {found}. Take another batch size"
        )


def leaves_none(rows: int, count: int) -> bool:
    """Says whether a batch of an array leaves a replica without rows.

    TensorFlow gives all the same number of rows, rounded up, until none are
    left: 9 rows are 3, 3, 3 and 0 for four replicas.
    """
    each = math.ceil(rows / count)
    return 0 < rows <= each * (count - 1)


def _on_processors(strategy: Any) -> bool:
    devices = map(tf.DeviceSpec.from_string, strategy.extended.worker_devices)
    return any(device.device_type == "CPU" for device in devices)


def _convolving(model: Any) -> list[str]:
    """Lists the kernels by which images are convolved: they have four axes."""
    return [v.path for v in model.weights if len(v.shape) == 4]


def _with_own_statistics(model: Any) -> list[str]:
    """Lists layers that normalize by the rows of their replica alone."""
    return [
        layer.name
        for layer in keras_private.held_layers(model)
        if getattr(layer, "synchronized", True) is False and layer.trainable
    ]


def _warn_of_statistics(model: Any) -> None:
    found = _with_own_statistics(model)
    if found and model not in _warned:
        _warned.add(model)
        warnings.warn(
            f"The layers {found} normalize by the rows of one replica, not of "
            "the batch: the loss is not that of one device, and each replica "
            "keeps means of its own. Make them with synchronized=True",
            stacklevel=4,
        )


def _check_shards(given: Mapping[str, Any]) -> None:
    """Raises if the rows of all workers can't be counted at one of them."""
    x = given.get("x")
    if not isinstance(x, tf.data.Dataset):
        return
    policy = x.options().experimental_distribute.auto_shard_policy
    callbacks = keras.tree.flatten(given.get("callbacks"))
    is_counted = any(math.isfinite(_examples(each)) for each in callbacks)
    if policy == tf.data.experimental.AutoShardPolicy.OFF and not is_counted:
        raise ValueError(
            "`callbacks` must have a `tfpbnn.callbacks.KLWeight(num_examples="
            "...)`, with the rows of all workers together, where workers bring "
            "rows of their own. Received: a dataset with AutoShardPolicy.OFF, "
            "which tells the rows of one worker"
        )


def _examples(callback: Any) -> float:
    return getattr(callback, "num_examples", math.nan)
