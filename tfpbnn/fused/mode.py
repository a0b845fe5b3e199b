"""Decides where passes over weights are fused into one XLA function."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.fused import thresholds

# Under the square root of local reparameterization: without it an all-zero
# input has an infinite derivative there, times zero: NaN.
VARIANCE_FLOOR = 1e-12
# What was decided in this thread; see `enabled` and `plain`.
_draws: ContextVar[bool] = ContextVar("draws", default=False)
_plain: ContextVar[str | None] = ContextVar("plain", default=None)


@contextlib.contextmanager
def _set(decision: ContextVar[Any], value: Any) -> Iterator[None]:
    """Sets one of this thread's decisions inside of the context."""
    token = decision.set(value)
    try:
        yield
    finally:
        decision.reset(token)


def enabled(draws: bool) -> contextlib.AbstractContextManager[None]:
    """Says whether passes over large float32 kernels may be fused inside."""
    return _set(_draws, draws)


def plain(addressed: bool) -> contextlib.AbstractContextManager[None]:
    """Forbids fused passes, and so XLA, whatever is asked for inside.

    Args:
        addressed: whether random numbers are to be those of `predict`, each
            with an address. Others of the same distribution come faster, if
            they are not to be drawn again.
    """
    return _set(_plain, "addressed" if addressed else "fast")


def plain_kind() -> str | None:
    """Returns how `plain` says to draw: "addressed", "fast", or None."""
    return _plain.get()


def applies(untransformed_scale: Tensor) -> bool:
    """Says whether fusing pays for a weight of this dtype and size."""
    size = untransformed_scale.shape.num_elements()
    return (
        untransformed_scale.dtype == tf.float32 and size >= thresholds.MIN_SIZE
    )


def is_on() -> bool:
    """Says whether draws are to be fused here and now, if it pays."""
    return plain_kind() is None and _draws.get()


def is_enabled(untransformed_scale: Tensor) -> bool:
    """Says whether a draw with this scale is to be fused here and now."""
    return is_on() and applies(untransformed_scale)


def perturbs(outputs: Tensor, variance: Tensor) -> bool:
    """Says whether the noise on these outputs is to be fused here and now.

    XLA compiles anew for each new shape, so only the batch size may vary.
    """
    size = outputs.shape[1:].num_elements()
    return (
        is_on()
        and outputs.dtype == variance.dtype == tf.float32
        and size is not None
        and size >= thresholds.MIN_OUTPUTS
    )


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function into one pass of XLA."""
    return tf.function(function, jit_compile=True, autograph=False)
