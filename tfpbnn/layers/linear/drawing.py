"""How weights, or outputs, are drawn inside of a scope: for prediction."""

from typing import Any

import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base.stacking import over_rows
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family
from tfpbnn.layers.linear.estimators import mean, moments
from tfpbnn.layers.linear.ops import LinearOp


def coherent(op: LinearOp, x: Tensor, posterior: Family, key: Tensor) -> Tensor:
    """For prediction: one draw of the kernel for all rows."""
    if not posterior.is_random:
        return mean(op, x, posterior)
    return op(x, scope_draw(posterior, key))


def scope_draw(posterior: Family, key: Tensor) -> Tensor:
    """One draw of the weights, with the sign of the current scope."""
    return posterior.draws(key[tf.newaxis], scope_signs())[0]


def stacked(op: LinearOp, x: Tensor, posterior: Family, keys: Tensor) -> Tensor:
    """`coherent` for S draws at once.

    Args:
        op: the operation.
        x: `[S, B, ...]`, or `[1, B, ...]` if it is the same for all draws.
        posterior: the kernel's.
        keys: `[S, 2]`.

    Returns:
        `[S, B, ...]`, or what broadcasts to it.
    """
    if not posterior.is_random:
        return over_rows(lambda flat: mean(op, flat, posterior), x)
    return op.stacked(x, posterior.draws(keys, scope_signs()))


def marginal(
    op: LinearOp, x: Tensor, posterior: Family, keys: Tensor
) -> Tensor:
    """S draws at once, rows drawn apart: noise on the outputs.

    Of the same distribution as `stacked` for each row, if the row meets each
    element of the kernel once. Arguments are those of `stacked`; the rows'
    numbers are those of the scope.
    """
    if not posterior.is_random:
        return over_rows(lambda flat: mean(op, flat, posterior), x)
    scope = random.current_scope()
    assert scope is not None
    y, variance = over_rows(lambda flat: moments(op, flat, posterior), x)
    return add_noise(y, tf.sqrt(variance), keys, scope.rows)


def add_noise(y: Tensor, scale: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """`y + scale * eps`, with noise for each of `keys [S, 2]` and each row.

    Args:
        y: means, `[S or 1, B, ...]`.
        scale: standard deviations, of that shape or a number.
        keys: as above.
        rows: their numbers `[B]`; `[1]` for noise that all rows share.
    """
    noisy = fused.add_draw_noise(
        _flat(y), _flat(scale), keys, rows, scope_signs()
    )
    return tf.reshape(noisy, [*_leads(noisy), *y.shape[2:]])


def _flat(x: Tensor) -> Tensor:
    """`[S, B, ...]` to `[S, B, size]`, and a number to `[1, 1, 1]`."""
    if not x.shape.rank:
        return tf.reshape(x, [1, 1, 1])
    return tf.reshape(x, [*_leads(x), x.shape[2:].num_elements()])


def _leads(x: Tensor) -> list[Any]:
    """The first two sizes: a number where one is known, else a tensor."""
    sizes = tf.shape(x)
    return [x.shape[axis] or sizes[axis] for axis in (0, 1)]


def scope_signs() -> Tensor | None:
    """Those of the noise of the current scope's draws, `[S]`; None for 1."""
    scope = random.current_scope()
    if scope is None or scope.signs is None:
        return None
    return tf.reshape(scope.signs, [-1])
