"""Checks what optimizers of this package are given, at the first step."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks
from tfpbnn.base.types import Tensor

NO_DRAW = (
    "IVON needs gradients at draws of the weights, and no draw was taken. "
    "Received: gradients at the mean. Make the model a `tfpbnn.Sequential` or "
    "`tfpbnn.Model`, whose `fit` takes them; in loops of your own call "
    "`optimizer.gradients(loss, variables)`, or compute the loss in `with "
    "optimizer.sampled(model):`, inside of the tape."
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


def check_replicas() -> None:
    """Raises if there are several replicas."""
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        raise NotImplementedError(
            "IVON trains on one device: the products of gradients and noise "
            "are not added up over replicas. Received: "
            f"{context.num_replicas_in_sync} replicas"
        )


def dense(gradients: Sequence[Any], variables: Sequence[Any]) -> list[Tensor]:
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
            "`trainable=False`, give their output a loss, or, in loops of "
            "your own, open `optimizer.sampled` inside of the tape"
        )
    return [tf.convert_to_tensor(g) for g in gradients]


def check_trained(
    model: keras.Model, slots: Mapping[int, int], ess: keras.Variable
) -> None:
    """Raises if an optimizer has no distribution of a model's weights."""
    if not slots:
        raise ValueError(
            "`model` must be the model that the optimizer has trained, or "
            "that was loaded with it. Received: "
            f"{model.name}, of whose weights it knows none. For a loaded model "
            "call `model.optimizer.posterior(model)`"
        )
    check_ess(ess)
