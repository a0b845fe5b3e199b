"""Makes many draws at once for prediction, by one XLA function where it pays.

Every normal has an address (`random.grid_bits`), so the fused and the plain
form give the same draws, up to rounding, however work is split into calls.
"""

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Tensor
from tfpbnn.fused import thresholds
from tfpbnn.fused.mode import compiled, is_on, plain_kind


def normal_draws(loc: Tensor, scale: Tensor, keys: Tensor) -> Tensor:
    """Draws `loc + scale * eps` for each of `keys [S, 2]`.

    The noise has the signs of the current scope's draws.
    """
    signs = random.signed(tf.ones(tf.shape(keys)[:1], loc.dtype))
    if not is_on() or loc.shape.num_elements() < thresholds.MIN_DRAW:
        draws = _draws(loc, scale, keys, signs, _plain_grid)
    elif keys.shape[0] is not None:
        draws = _fused_draws(loc, scale, keys, signs)
    else:
        count = tf.shape(keys)[0]
        keys, signs = (_padded(x, _missing(count)) for x in (keys, signs))
        draws = _fused_draws(loc, scale, keys, signs)[:count]
    return tf.reshape(draws, [-1, *loc.shape])


def normal_grid(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    """Draws normals `[S, B, size]`, each made of its key, row and place.

    Their signs are those of the current scope's draws.
    """

    def compiled() -> Tensor:
        draws, count = tf.shape(keys)[0], tf.size(rows)
        grid = _fused_grid(size)(
            _padded(keys, _missing(draws)), _padded(rows, _missing(count))
        )
        return grid[:draws, :count]

    normals = _where_it_pays(
        lambda: _plain_grid(keys, rows, size), compiled, keys, rows, size
    )
    return random.signed(normals)


def add_draw_noise(
    y: Tensor, scale: Tensor, keys: Tensor, rows: Tensor
) -> Tensor:
    """Gives `y + scale * eps`, where eps are the normals of `normal_grid`.

    Args:
        y: the means, `[S or 1, B, size]`.
        scale: the standard deviations, of that shape or `[1, 1, 1]`.
        keys: `[S, 2]`, or `[S, B, 2]` for one of each row.
        rows: their indices `[B]`; `[1]` for noise that all rows share.

    Returns:
        The noisy values, `[S, B, size]`.
    """
    size, signs = y.shape[2], random.signs_of_draws()

    def plain() -> Tensor:
        return _perturbed(y, scale, _plain_grid(keys, rows, size), signs)

    def compiled() -> Tensor:
        draws, count = tf.shape(keys)[0], tf.size(rows)
        more_draws, more_rows = _missing(draws), _missing(count)
        noisy = _fused_perturbed(
            _padded(y, more_draws, more_rows),
            _padded(scale, more_draws, more_rows),
            _padded(keys, more_draws),
            _padded(rows, more_rows),
            None if signs is None else _padded(signs, more_draws),
        )
        return noisy[:draws, :count]

    if rows.shape[0] == 1 or len(keys.shape) == 3:
        return plain()
    return _where_it_pays(plain, compiled, keys, rows, size)


def _where_it_pays(
    plain: Callable[[], Tensor],
    compiled: Callable[[], Tensor],
    keys: Tensor,
    rows: Tensor,
    size: int,
) -> Tensor:
    """Gives what the faster of the two does for so many numbers."""
    if not is_on():
        return plain()
    if size >= thresholds.MIN_ROW:
        return compiled()
    count = tf.shape(keys, tf.int64)[0] * tf.size(rows, tf.int64) * size
    return tf.cond(count < thresholds.MANY, plain, compiled)


def _missing(count: Tensor) -> Tensor:
    """Counts how many are missing to one of few lengths.

    XLA compiles anew for each length. There are the powers of two, and fifteen
    numbers between any two of them.
    """
    bits = tf.math.log(tf.cast(count, tf.float64)) / math.log(2.0)
    step = tf.maximum(tf.cast(2 ** (tf.floor(bits) - 4), count.dtype), 1)
    return (count + step - 1) // step * step - count


def _padded(x: Tensor, *more: Tensor | int) -> Tensor:
    """Adds so many zeros along its first axes, but for those of size 1."""
    more = more + (0,) * (len(x.shape) - len(more))
    ends = zip(x.shape, more, strict=True)
    return tf.pad(x, [[0, 0 if size == 1 else count] for size, count in ends])


def _plain_grid(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    kind = plain_kind()
    if kind == "fast":
        shape = [tf.shape(keys)[0], tf.size(rows), size]
        return random.normal(keys[0], shape)
    if kind == "addressed":
        return random.normal_grid(keys, rows, size)
    return random.normal_from_bits(random.grid_bits(keys, rows, size))


def _fast_grid(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    return random.fast_normal_from_bits(random.fast_grid_bits(keys, rows, size))


@functools.lru_cache(maxsize=64)
def _fused_grid(size: int) -> Callable[..., Tensor]:
    return compiled(functools.partial(_fast_grid, size=size))


def _draws(
    loc: Tensor,
    scale: Tensor,
    keys: Tensor,
    signs: Tensor,
    grid: Callable[..., Tensor],
) -> Tensor:
    """Makes draws `[S, N]`; XLA's loops along a short last axis take longer."""
    row = tf.zeros([1], tf.int32)
    noise = grid(keys, row, loc.shape.num_elements())[:, 0]
    loc, scale = tf.reshape(loc, [-1]), tf.reshape(scale, [-1])
    return loc + (signs[:, tf.newaxis] * scale) * tf.cast(noise, loc.dtype)


@compiled
def _fused_draws(
    loc: Tensor, scale: Tensor, keys: Tensor, signs: Tensor
) -> Tensor:
    return _draws(loc, scale, keys, signs, _fast_grid)


def _perturbed(
    y: Tensor, scale: Tensor, noise: Tensor, signs: Tensor | None
) -> Tensor:
    noise = tf.cast(noise, scale.dtype)
    if signs is not None:
        noise *= tf.cast(signs, noise.dtype)[:, tf.newaxis, tf.newaxis]
    return y + tf.cast(scale * noise, y.dtype)


@compiled
def _fused_perturbed(
    y: Tensor, scale: Tensor, keys: Tensor, rows: Tensor, signs: Tensor | None
) -> Tensor:
    return _perturbed(y, scale, _fast_grid(keys, rows, y.shape[2]), signs)
