"""An optimizer's step, as one pass over the weights where that is possible."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.types import Tensor

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
    """`optimizer.apply(gradients, variables)`, compiled by XLA if it can be.

    As graph operations a step of Adam reads and writes each weight a dozen
    times; as one loop, once.
    """
    pairs = [
        (gradient, variable)
        for gradient, variable in zip(gradients, variables, strict=True)
        if gradient is not None
    ]
    kept, trained = [g for g, _ in pairs], [v for _, v in pairs]
    if not _can_compile(optimizer, kept, trained):
        optimizer.apply_gradients(pairs)
        return
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(list(variables))

    def step(values: list[Tensor]) -> None:
        optimizer.apply_gradients(list(zip(values, trained, strict=True)))

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


def _tensor(variable: Any) -> Any:
    return variable.value
