"""Adapters that become part of the kernels."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.layers.lora.lora import LoRA, set_trainable
from tfpbnn.networks import copying, reading, rewriting


def adapted_layers(model: keras.Model) -> list[LoRA]:
    """The layers with adapters of a model.

    Raises:
        TypeError: if `model` is an ensemble, or its layers can't be known.
        ValueError: if it has none.
    """
    if hasattr(model, "members"):
        raise TypeError(
            "`model` must be one network. Received an ensemble: "
            f"{model.name}. Take one of its `members`, each of which is a "
            "model with adapters."
        )
    reading.check_readable(model)
    found = [x for x in reading.leaves(model) if isinstance(x, LoRA)]
    if not found:
        raise ValueError(
            "`model` must have adapters, as `tfpbnn.lora.add_lora` makes them. "
            f"Received: {model.name}, which has none"
        )
    return found


def merge(model: keras.Model) -> keras.Model:
    """A plain copy of an adapted model, with adapters added to the kernels.

    It computes what the model does at the means, without the adapters' cost.
    All its layers are trainable; it is not compiled.

    Args:
        model: a model with adapters, which stays as it is.

    Returns:
        A `keras.Sequential` or a `keras.Model`.

    Raises:
        ValueError: if there are no adapters, or one is on a quantized kernel,
            which can't take it up.

    Example:
    ```python
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    adapted = tfpbnn.lora.add_lora(plain, rank=2)
    merged = tfpbnn.lora.merge(adapted)
    ```
    """
    for layer in adapted_layers(model):
        _check(layer)
    copier = copying.Copier()
    plain, pairs = rewriting.replace(
        model,
        reading.plain_class(model),
        lambda layer: isinstance(layer, LoRA),
        lambda layer: copier(layer.layer),
        copier,
    )
    for old, new in pairs:
        copying.copy_state(old.layer, new)
        _add(old, new)
    set_trainable(plain, True)
    return plain


def _check(layer: LoRA) -> None:
    for part, _ in layer.adapted():
        mode = getattr(part, "quantization_mode", None)
        if mode is not None:
            raise ValueError(
                "`model` must not be quantized: integers can't take adapters "
                f"up. Received: the layer {part.name!r} in {layer.name!r}, "
                f"with quantization_mode={mode!r}. Merge before `quantize`, "
                "or keep the adapters."
            )


def _add(old: LoRA, new: Any) -> None:
    """Adds adapters to the kernels of a layer like the adapted one."""
    for plain, adapter in old.adapted_in(new):
        is_lookup = adapter.factors.takes_indices
        kernel = plain.embeddings if is_lookup else plain.kernel
        kernel.assign(kernel + tf.cast(adapter.kernel(), kernel.dtype))
