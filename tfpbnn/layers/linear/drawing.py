"""Draws weights, or outputs, inside of a scope, for prediction.

In a scope a draw is one function, with the same kernel for every row: what
training estimators do across the rows is not wanted there. The estimators here
take the place of those in `estimators`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpbnn import fused, random
from tfpbnn.base.stacking import flatten, over_rows, repeated, unflatten
from tfpbnn.base.types import Tensor
from tfpbnn.families import Family
from tfpbnn.layers.linear.estimators import mean, moments
from tfpbnn.layers.linear.ops import LinearOp
from tfpbnn.layers.linear.weights import OutputNoise

# Of an estimator, inputs and a key: a layer's outputs before its activation.
Linear = Callable[[Callable[..., Tensor], Tensor, Tensor | None], Tensor]


def in_scope(
    linear: Linear,
    inputs: Tensor,
    scope: random.DrawScope,
    key: Tensor | None,
    noise: OutputNoise | None,
) -> Tensor:
    """Computes a layer's outputs before its activation, as a scope asks.

    Args:
        linear: a function that computes them with an estimator.
        inputs: the layer's inputs in the scope; see `random.DrawScope`.
        scope: the current scope.
        key: the layer's key, like the scope's.
        noise: the noise that mixed draws take in place of the weights, or None.

    Returns:
        `[B, ...]` for the means or one draw, `[S * B, ...]` for S at once.
    """
    if noise is not None:
        assert key is not None
        return _noisy(noise, key if scope.is_stacked else key[tf.newaxis])
    if not scope.is_stacked:
        return linear(coherent, inputs, key)
    count = tf.shape(key)[0]
    x = unflatten(inputs, 1 if scope.is_shared else count)
    y = linear(stacked if scope.rows is None else marginal, x, key)
    if y.shape[0] == 1:  # all its weights are points
        return repeated(y[0], count)
    return flatten(y)


def coherent(op: LinearOp, x: Tensor, posterior: Family, key: Tensor) -> Tensor:
    """Computes `op(x, kernel)` with one draw of the kernel for all rows."""
    if not posterior.is_random:
        return mean(op, x, posterior)
    return op(x, posterior.draws(key[tf.newaxis])[0])


def stacked(op: LinearOp, x: Tensor, posterior: Family, keys: Tensor) -> Tensor:
    """Computes `coherent` for S draws at once.

    Args:
        op: the operation.
        x: the inputs `[S, B, ...]`, or `[1, B, ...]` if they are the same for
            all draws.
        posterior: the kernel's posterior.
        keys: the keys of the draws, `[S, 2]`.

    Returns:
        The outputs `[S, B, ...]`, or a shape that broadcasts to it.
    """
    if not posterior.is_random:
        return over_rows(lambda flat: mean(op, flat, posterior), x)
    return op.stacked(x, posterior.draws(keys))


def marginal(
    op: LinearOp, x: Tensor, posterior: Family, keys: Tensor
) -> Tensor:
    """S draws at once with each row's own, by noise on the outputs.

    Each row has the same distribution as in `stacked`, if it meets each element
    of the kernel once. Arguments are those of `stacked`; the rows' indices are
    those of the scope.
    """
    if not posterior.is_random:
        return over_rows(lambda flat: mean(op, flat, posterior), x)
    scope = random.current_scope()
    assert scope is not None
    y, variance = over_rows(lambda flat: moments(op, flat, posterior), x)
    return _with_noise(y, tf.sqrt(variance), keys, scope.rows)


def _noisy(noise: OutputNoise, keys: Tensor) -> Tensor:
    """Draws outputs `[S * B, ...]` in place of weights."""
    scale = noise.scale
    scale = scale[tf.newaxis] if scale.shape.rank else scale
    y = _with_noise(noise.mean[tf.newaxis], scale, keys, noise.rows)
    return tf.ensure_shape(flatten(y), [None, *noise.mean.shape[1:]])


def _with_noise(y: Tensor, scale: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """Adds noise `scale * eps` for each of `keys [S, 2]` and each row.

    Args:
        y: the means, `[S or 1, B, ...]`.
        scale: the standard deviations, of that shape or a number.
        keys: the keys of the draws.
        rows: the indices of the rows, `[B]`; `[1]` for noise that all rows
            share.
    """
    noisy = fused.add_draw_noise(_flat(y), _flat(scale), keys, rows)
    return tf.reshape(noisy, [*_leads(noisy), *y.shape[2:]])


def _flat(x: Tensor) -> Tensor:
    """Reshapes `[S, B, ...]` to `[S, B, size]`, and a number to `[1, 1, 1]`."""
    if not x.shape.rank:
        return tf.reshape(x, [1, 1, 1])
    return tf.reshape(x, [*_leads(x), x.shape[2:].num_elements()])


def _leads(x: Tensor) -> list[Any]:
    """Returns the first two sizes: numbers where known, else tensors."""
    sizes = tf.shape(x)
    return [x.shape[axis] or sizes[axis] for axis in (0, 1)]
