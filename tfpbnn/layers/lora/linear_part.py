"""Splits the call of a layer with a kernel where its outputs are linear."""

from collections.abc import Callable
from typing import Any

import keras

from tfpbnn.networks.stand_ins import Attributes, StandIns

# What Keras's layers apply last, by the attributes that say so.
_LAST = {"activation": None, "logit_soft_cap": None}

Call = Callable[..., Any]


def linear_part(layer: Any) -> tuple[Call, Call]:
    """Gives the call of a layer in two: up to the bias, and what comes after.

    The second takes the outputs so far, and whether the layer is an embedding
    that is called in reverse.

    Something can so be added to the outputs before their activation, whatever
    code the layer runs until then, such as that of quantized kernels.
    """

    def attributes(part: Any) -> Attributes:
        return _LAST if part is layer else {}

    linear = StandIns(attributes).of(layer)
    cls = type(layer)
    is_quantized = getattr(layer, "quantization_mode", None) is not None
    call = cls.quantized_call if is_quantized else cls.call

    def first(*args: Any, **kwargs: Any) -> Any:
        return call(linear, *args, **kwargs)

    return first, _last(layer)


def _last(layer: Any) -> Call:
    cap = getattr(layer, "logit_soft_cap", None)

    def last(outputs: Any, is_reverse: bool) -> Any:
        if is_reverse:
            if cap is None:
                return outputs
            return cap * keras.ops.tanh(outputs / cap)
        activation = getattr(layer, "activation", None)
        return outputs if activation is None else activation(outputs)

    return last
