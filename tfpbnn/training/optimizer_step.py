"""An optimizer's step, as one pass over the weights where that is possible."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor

# Their steps treat each weight alone, whatever tensor it is a part of.
ELEMENTWISE = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
)
# Below so many weights a compilation costs more than it saves.
_MIN_SIZE = 2**17


def is_elementwise(optimizer: Any) -> bool:
    """Whether a step of stacked weights is that of each part alone.

    Save for clipping by norms, which is not looked at here. Of Keras's own
    classes only: a subclass may do anything.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return type(inner) in ELEMENTWISE


def is_proportional(optimizer: Any) -> bool:
    """Whether a step is in proportion to the learning rate, a number."""
    scheduled = isinstance(
        getattr(optimizer, "_learning_rate", None),
        keras.optimizers.schedules.LearningRateSchedule,
    )
    is_linear = type(optimizer) is not keras.optimizers.Ftrl
    return is_elementwise(optimizer) and is_linear and not scheduled


def apply_gradients(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]
) -> None:
    """`optimizer.apply(gradients, variables)`, with few passes if it can be.

    As graph operations a step of Adam reads and writes each weight a dozen
    times. TensorFlow has an operation for it that does so once; other
    optimizers are compiled by XLA.
    """
    pairs = list(zip(gradients, variables, strict=True))
    kept = [g for g in gradients if g is not None]
    trained = [v for g, v in pairs if g is not None]
    if not _can_compile(optimizer, kept, trained):
        optimizer.apply_gradients(pairs)
        return
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(list(variables))

    if slots := _adam_slots(optimizer, trained):
        _adam_step(optimizer, pairs, slots)
        return

    def step(values: list[Tensor]) -> None:
        found = iter(values)
        given = [None if g is None else next(found) for g in gradients]
        # With those that are missing, of which Keras warns.
        optimizer.apply_gradients(list(zip(given, variables, strict=True)))

    tf.function(step, jit_compile=True, autograph=False)(kept)


@contextlib.contextmanager
def compiled(optimizer: Any) -> Iterator[None]:
    """Lets an optimizer's steps be `apply_gradients` of this module.

    For what Keras's own training step calls, while that is traced. Replicas are
    traced side by side, each by a thread, and are left alone.
    """
    if optimizer is None or tf.distribute.has_strategy():
        yield
        return
    plain = optimizer.apply_gradients

    def step(pairs: Iterable[tuple[Any, Any]]) -> None:
        optimizer.apply_gradients = plain
        gradients, variables = zip(*pairs, strict=True)
        apply_gradients(optimizer, gradients, variables)

    optimizer.apply_gradients = step
    try:
        yield
    finally:
        del optimizer.apply_gradients


def _can_compile(
    optimizer: Any, gradients: list[Any], variables: list[Any]
) -> bool:
    size = sum(v.shape.num_elements() for v in map(_tensor, variables))
    return (
        not tf.executing_eagerly()  # It would compile anew each time.
        and type(optimizer) in ELEMENTWISE
        and not optimizer.gradient_accumulation_steps
        and not tf.distribute.has_strategy()
        and all(isinstance(g, tf.Tensor) for g in gradients)
        and all(v.dtype == "float32" for v in variables)
        and all(v.constraint is None for v in variables)
        and size >= _MIN_SIZE
    )


def _adam_slots(
    optimizer: Any, variables: list[Any]
) -> dict[Any, tuple[Any, Any]]:
    """The moments of Adam, by the reference of a variable; none if unsure.

    Keras gives them names of the variables' paths.
    """
    options = ("amsgrad", "weight_decay", "use_ema", "clipvalue")
    norms = ("clipnorm", "global_clipnorm")
    if type(optimizer) is not keras.optimizers.Adam or any(
        getattr(optimizer, name) for name in (*options, *norms)
    ):
        return {}
    if not all(map(_is_precise, (optimizer.beta_1, optimizer.beta_2))):
        return {}
    names = [v.name for v in optimizer.variables]
    by_name = dict(zip(names, optimizer.variables, strict=True))
    found = {}
    for variable in variables:
        path = variable.path.replace("/", "_")
        kinds = (f"{path}_momentum", f"{path}_velocity")
        moments = [by_name[kind] for kind in kinds if names.count(kind) == 1]
        if [tuple(v.shape) for v in moments] != [tuple(variable.shape)] * 2:
            return {}
        found[_tensor(variable).ref()] = (moments[0], moments[1])
    return found


def _adam_step(
    optimizer: Any, pairs: list[tuple[Any, Any]], slots: dict[Any, Any]
) -> None:
    """Keras's step, with TensorFlow's operation for each variable."""
    beta_1, beta_2 = float(optimizer.beta_1), float(optimizer.beta_2)
    number = optimizer.iterations.value + 1
    powers = [
        tf.pow(tf.constant(beta), tf.cast(number, tf.float32))
        for beta in (beta_1, beta_2)
    ]
    correction = tf.sqrt(_ratio(beta_2, number)) / _ratio(beta_1, number)

    def update_step(gradient: Tensor, variable: Any, rate: Tensor) -> None:
        first, second = slots[variable.ref()]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_tensor(first).handle,
            v=_tensor(second).handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=tf.cast(rate, tf.float32) * tf.cast(correction, tf.float32),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    optimizer.update_step = update_step
    try:
        optimizer.apply_gradients(pairs)
    finally:
        del optimizer.update_step


def _is_precise(beta: float) -> bool:
    """Whether `1 - beta` of float32 numbers has some digits."""
    rest, rounded = 1 - beta, 1 - float(np.float32(beta))
    return abs(rounded - rest) < 1e-4 * rest


def _ratio(beta: float, number: Tensor) -> Tensor:
    """Of the operation's moments over Keras's.

    It has `1 - beta` of float32 numbers, which is 1e-5 off for 0.999, and
    Keras rounds the difference. Exact if gradients stay, 1e-6 off if not.
    """
    rounded, exact = (
        1 - tf.pow(tf.constant(b, tf.float64), tf.cast(number, tf.float64))
        for b in (float(np.float32(beta)), beta)
    )
    return rounded / exact


def _tensor(variable: Any) -> Any:
    return variable.value
