"""Does an optimizer's step in one pass over the weights, where possible."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.base.types import Tensor

# Optimizers whose steps treat each weight alone, whatever tensor holds it.
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
# With fewer weights a compilation costs more than it saves.
_MIN_SIZE = 2**17


def inner(optimizer: Any) -> Any:
    """Returns the optimizer that one with a loss scale is around, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def is_elementwise(optimizer: Any) -> bool:
    """Says whether a step of stacked weights is a step of each part alone.

    Clipping by norms is not looked at. This is known only of Keras's own
    classes, since a subclass may do anything.
    """
    return type(inner(optimizer)) in ELEMENTWISE


def is_proportional(optimizer: Any) -> bool:
    """Says whether steps are in proportion to the learning rate, a number."""
    is_linear = type(optimizer) is not keras.optimizers.Ftrl
    return (
        is_elementwise(optimizer)
        and is_linear
        and isinstance(rate_setting(optimizer), float)
    )


def rate_setting(optimizer: Any) -> float | str:
    """Returns an optimizer's learning rate, or the name of its class."""
    with tf.init_scope():
        rate = inner(optimizer).get_config().get("learning_rate")
    if isinstance(rate, Mapping):
        return str(rate.get("class_name"))
    return rate if isinstance(rate, float) else type(rate).__name__


def is_one_pass(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Says whether `apply_gradients` needs few passes over these variables.

    As graph operations, a step of Adam reads and writes each weight a dozen
    times. TensorFlow has an operation for Adam that does so once; other
    optimizers, and those of this package, which have a method `weigh`, are
    compiled by XLA. Replicas are left to Keras.
    """
    size = sum(math.prod(v.shape) for v in variables)
    return (
        not tf.executing_eagerly()  # It would compile anew each time.
        and (type(optimizer) in ELEMENTWISE or hasattr(optimizer, "weigh"))
        and not optimizer.gradient_accumulation_steps
        and not tf.distribute.has_strategy()
        and all(v.dtype == "float32" for v in variables)
        and all(v.constraint is None for v in variables)
        and size >= _MIN_SIZE
    )


def apply_gradients(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]
) -> None:
    """Applies gradients like `optimizer.apply`, in few passes if possible."""
    pairs = list(zip(gradients, variables, strict=True))
    kept = [g for g in gradients if g is not None]
    trained = [v for g, v in pairs if g is not None]
    is_dense = all(isinstance(g, tf.Tensor) for g in kept)
    if not (is_dense and is_one_pass(optimizer, trained)):
        optimizer.apply_gradients(pairs)
        return
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(list(variables))

    moments = [_moments(optimizer, variable) for variable in variables]
    if len(kept) == len(pairs) and None not in moments:
        _adam_step(optimizer, pairs, moments)
        return

    def step(values: list[Tensor]) -> None:
        found = iter(values)
        given = [None if g is None else next(found) for g in gradients]
        # With those that are missing, of which Keras warns.
        optimizer.apply_gradients(list(zip(given, variables, strict=True)))

    tf.function(step, jit_compile=True, autograph=False)(kept)


def _moments(optimizer: Any, variable: Any) -> tuple[Any, Any] | None:
    """Finds Adam's moments of a variable; None if its step is not plain."""
    more = ("amsgrad", "weight_decay", "use_ema", "clipvalue", "clipnorm")
    if (
        type(optimizer) is not keras.optimizers.Adam
        or any(getattr(optimizer, name) for name in (*more, "global_clipnorm"))
        or not all(map(_is_precise, (optimizer.beta_1, optimizer.beta_2)))
    ):
        return None
    return keras_private.adam_moments(optimizer, variable)


def _adam_step(
    optimizer: Any, pairs: Sequence[Any], moments: Sequence[Any]
) -> None:
    """Does Keras's Adam step, by TensorFlow's operation for each variable."""
    beta_1, beta_2 = float(optimizer.beta_1), float(optimizer.beta_2)
    count = optimizer.iterations.value + 1
    powers = [
        tf.pow(tf.constant(beta), tf.cast(count, tf.float32))
        for beta in (beta_1, beta_2)
    ]
    correction = tf.sqrt(_ratio(beta_2, count)) / _ratio(beta_1, count)
    rate = tf.cast(optimizer.learning_rate, tf.float32)
    rate *= tf.cast(correction, tf.float32)
    scale = optimizer.loss_scale_factor
    for (gradient, variable), (first, second) in zip(
        pairs, moments, strict=True
    ):
        tf.raw_ops.ResourceApplyAdam(
            var=variable.value.handle,
            m=first.value.handle,
            v=second.value.handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient if scale is None else gradient / scale,
        )
    optimizer.iterations.assign_add(1)


def _is_precise(beta: float) -> bool:
    """Says whether `1 - beta` has enough digits in float32."""
    rest, rounded = 1 - beta, 1 - float(np.float32(beta))
    return abs(rounded - rest) < 1e-4 * rest


def _ratio(beta: float, count: Tensor) -> Tensor:
    """Computes the ratio of the operation's moments to Keras's.

    The operation takes `1 - beta` of float32 numbers, which is 1e-5 off for
    0.999, and Keras rounds the difference. The ratio is exact if gradients
    stay the same, and 1e-6 off if not.
    """
    rounded, exact = (
        1 - tf.pow(tf.constant(b, tf.float64), tf.cast(count, tf.float64))
        for b in (float(np.float32(beta)), beta)
    )
    return rounded / exact
