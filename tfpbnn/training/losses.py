"""The losses of a step, where it is not Keras's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor


def with_extra(loss: Tensor, extra: Sequence[Any]) -> Tensor:
    """The loss of the outputs, and the losses that layers add.

    Args:
        loss: of the outputs.
        extra: what layers add, such as regularizers and KLs. As in Keras, each
            may be one number or one for each row.

    Raises:
        ValueError: if the loss has no reduction and there is something to add.
    """
    if extra and loss.shape.rank:
        raise ValueError(
            "`loss` must have a reduction, such as "
            'reduction="sum_over_batch_size", if layers have regularizers, '
            "KLs or other losses of their own, which belong to the batch and "
            f"not to a row. Received: a loss of shape {tuple(loss.shape)}"
        )
    parts = [tf.reduce_sum(tf.cast(part, loss.dtype)) for part in extra]
    return tf.add_n([loss, *parts])


def check_names(model: Any, y: Any, y_pred: Any) -> None:
    """Raises unless targets have the names of outputs, and each has its own.

    Args:
        model: a compiled model.
        y: targets; other forms than a dict pass.
        y_pred: the outputs of the model, or of a network like it.

    Raises:
        ValueError: if a target has no output, or an output that has a loss has
            no target; or if there is one output, which goes without a name.
            Lists the names.
    """
    if not isinstance(y, Mapping):
        return
    if not keras.tree.is_nested(y_pred):
        raise ValueError(
            "`y` must be an array, since the model has one output. Received: "
            f"y with the names {list(y)}. Pass the array that is in it"
        )
    if isinstance(y_pred, Mapping):
        names = list(y_pred)
    else:
        names = list(getattr(model, "output_names", None) or ())
    if len(names) != len(keras.tree.flatten(y_pred)):
        return  # outputs in lists of dicts, or without names
    unknown = [name for name in y if name not in names]
    missing = [name for name in _trained(model.loss, names) if name not in y]
    if unknown or missing:
        raise ValueError(
            "`y` must have a target for each output that has a loss, by its "
            f"name: the outputs are {names}. Received: y with the names "
            f"{list(y)}, of which {unknown} are unknown, and {missing} missing"
        )


def _trained(loss: Any, names: list[str]) -> list[str]:
    """The names of the outputs that have a loss."""
    if isinstance(loss, Mapping):
        return [name for name in names if loss.get(name) is not None]
    if isinstance(loss, list | tuple) and len(loss) == len(names):
        pairs = zip(names, loss, strict=True)
        return [name for name, own in pairs if own is not None]
    return names
