"""Where passes over weights are fused into one XLA function, and where not."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor

# Below this many weights a compilation costs more than its loops save.
MIN_SIZE = 2**14
# Below this many outputs per example, likewise.
MIN_OUTPUTS = 2**8
# Under the square root of local reparameterization: without it an all-zero
# input has an infinite derivative there, times zero: NaN.
VARIANCE_FLOOR = 1e-12
_local = threading.local()


@contextlib.contextmanager
def enabled(draws: bool, training: bool = False) -> Iterator[None]:
    """Allows passes over large float32 kernels to be fused.

    Args:
        draws: whether draws may be.
        training: whether they are to prepare the KL too.
    """
    outer = getattr(_local, "mode", (False, False))
    _local.mode = (draws or training, training)
    try:
        yield
    finally:
        _local.mode = outer


@contextlib.contextmanager
def plain(addressed: bool) -> Iterator[None]:
    """Forbids fused passes, and so XLA, whatever is asked for inside.

    Args:
        addressed: whether random numbers are to be those of `predict`, each
            with an address. Others of the same distribution come faster, if
            they are not to be drawn again.
    """
    _local.plain = "addressed" if addressed else "fast"
    try:
        yield
    finally:
        _local.plain = None


def plain_kind() -> str | None:
    """Inside of `plain`, "addressed" or "fast"."""
    return getattr(_local, "plain", None)


def applies(untransformed_scale: Tensor) -> bool:
    """Whether `untransformed_scale` is of the kind that fusing pays for."""
    size = untransformed_scale.shape.num_elements()
    return untransformed_scale.dtype == tf.float32 and size >= MIN_SIZE


def is_on() -> bool:
    """Whether draws are to be fused here and now, if it pays for them."""
    is_plain = plain_kind() is not None
    return not is_plain and getattr(_local, "mode", (False, False))[0]


def is_enabled(untransformed_scale: Tensor) -> bool:
    """Whether a draw with this scale is to be fused here and now."""
    return is_on() and applies(untransformed_scale)


def perturbs(outputs: Tensor, variance: Tensor) -> bool:
    """Whether the noise on these outputs is to be fused here and now.

    XLA compiles anew for each new shape: only the batch may vary.
    """
    size = outputs.shape[1:].num_elements()
    return (
        is_on()
        and outputs.dtype == variance.dtype == tf.float32
        and size is not None
        and size >= MIN_OUTPUTS
    )


def prepares_kl() -> bool:
    """Whether the pass that is fused is to prepare the KL."""
    return getattr(_local, "mode", (False, False))[1]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one pass of XLA."""
    return tf.function(function, jit_compile=True, autograph=False)
