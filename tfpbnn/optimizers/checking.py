"""Checks what optimizers of this package are given, at the first step."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, keras_private
from tfpbnn.base.types import Tensor

NO_DRAW = (
    "IVON needs gradients at draws of the weights, and no draw was taken. "
    "Received: gradients at the mean. Make the model a `tfpbnn.Sequential` or "
    "`tfpbnn.Model`, whose `fit` takes them; in loops of your own call "
    "`optimizer.gradients(loss, variables)`, or compute the loss in `with "
    "optimizer.sampled(model):`, inside of the tape."
)
IN_TAPE = (
    ". In loops of your own, open `optimizer.sampled` inside of the tape. Leave"
    " out of layers what is traced or computed apart from the step, without its"
    " draws: `tf.function`, `tf.recompute_grad`, `keras.RematScope`"
)
radius = checks.number("a positive number or infinity", lambda v: v > 0)


def refuse_accumulation(kwargs: Mapping[str, Any]) -> None:
    """Raises if gradients are to be accumulated over steps."""
    steps = kwargs.get("gradient_accumulation_steps")
    if steps:
        raise ValueError(
            "`gradient_accumulation_steps` must be None: gradients of other "
            "draws can't be added up. Received: gradient_accumulation_steps="
            f"{steps!r}. Take a larger batch size, or `num_mc`"
        )


def check_variables(variables: Sequence[keras.Variable]) -> None:
    """Raises if variables can't have a Normal distribution.

    Raises:
        ValueError: if there are none, or they have 16 bits, or a constraint.
    """
    if not variables:
        raise ValueError(
            "`model` must have trainable weights, which are given a "
            "distribution. Received: none. Set `trainable=True` of a layer "
            "before the model is compiled"
        )
    for variable in variables:
        if variable.dtype not in ("float32", "float64"):
            raise ValueError(
                "Weights must be float32 or float64 variables: steps of their "
                f"Hessians are lost in 16 bits. Received: {variable.path} of "
                f'dtype={variable.dtype}. Use dtype="mixed_float16" or '
                '"mixed_bfloat16"'
            )
        if getattr(variable, "constraint", None) is not None:
            raise ValueError(
                "Weights must have no constraint, since draws of a Normal keep "
                f"none. Received: {variable.path} with a constraint. Leave "
                "the constraint out, or freeze the layer by `trainable=False`"
            )


def check_ess(ess: keras.Variable) -> None:
    """Raises if the number of examples is not known."""
    with tf.init_scope():
        value = float(keras.ops.convert_to_numpy(ess))
    if not 0 < value < math.inf:
        raise ValueError(
            "`ess` must be the number of training examples. Received: "
            "ess=None, which only `fit` of `tfpbnn.Sequential` and "
            "`tfpbnn.Model` can count. Give `IVON(ess=len(x))`"
        )


def check_drawn(drawn: Mapping[int, Tensor] | None) -> None:
    """Raises unless weights were drawn where their gradients are applied.

    A function of TensorFlow's that applies gradients would keep a draw that was
    taken outside of it, as a constant, for all of its calls.
    """
    if not drawn:
        raise ValueError(NO_DRAW)
    is_symbolic = tf.is_symbolic_tensor(next(iter(drawn.values())))
    if is_symbolic is tf.executing_eagerly():
        raise ValueError(
            "`apply` must be called where the draw was taken. Received: a draw "
            f"{'inside' if is_symbolic else 'outside'} of a tf.function, and "
            f"`apply` {'outside' if is_symbolic else 'inside'} of one. Put "
            "both into the same tf.function, or none into any"
        )


def check_replicas() -> None:
    """Raises if there are several replicas."""
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        raise NotImplementedError(
            "IVON trains on one device: the products of gradients and noise "
            "are not added up over replicas. Received: "
            f"{context.num_replicas_in_sync} replicas"
        )


def given(
    optimizer: Any, gradients: Any, variables: Any, more: str = ""
) -> tuple[list[Tensor], list[Any]]:
    """Returns what `apply` of an optimizer was given, checked.

    Args:
        optimizer: the optimizer.
        gradients: one of each weight.
        variables: the weights; None for all that the optimizer was built for.
        more: what else may help if one is missing.

    Returns:
        The gradients as tensors, and the weights.

    Raises:
        ValueError: as `dense` does.
    """
    if variables is None:
        variables = keras_private.trained_variables(optimizer)
    variables = list(variables)
    return dense(list(gradients), variables, more), variables


def dense(
    gradients: Sequence[Any], variables: Sequence[Any], more: str = ""
) -> list[Tensor]:
    """Returns gradients as tensors; those of embeddings have rows only.

    Raises:
        ValueError: if one is missing, with the weights' names.
    """
    missing = [
        v.path for g, v in zip(gradients, variables, strict=True) if g is None
    ]
    if missing:
        raise ValueError(
            "All trainable weights must have a gradient, since each has a "
            f"distribution. Received: none for {missing}. Freeze them by "
            f"`trainable=False`, or give their output a loss{more}"
        )
    return [tf.convert_to_tensor(g) for g in gradients]


def check_trained(
    model: keras.Model, slots: Mapping[int, int], ess: keras.Variable
) -> None:
    """Raises if an optimizer has no distribution of a model's weights.

    Raises:
        ValueError: also if weights are not finite, with the first one's name.
    """
    if not slots:
        raise ValueError(
            "`model` must be the model that the optimizer has trained, or "
            "that was loaded with it. Received: "
            f"{model.name}, of whose weights it knows none. For a loaded model "
            "call `model.optimizer.posterior(model)`"
        )
    check_ess(ess)
    for index in slots:
        if not keras.ops.all(keras.ops.isfinite(model.weights[index])):
            raise ValueError(
                "Weights must be finite to be the mean of a Normal. Received: "
                f"{model.weights[index].path} with NaN or infinity: the "
                "training diverged. Take a larger `hess_init`, a smaller "
                "`learning_rate`, or a `clip_radius`"
            )
