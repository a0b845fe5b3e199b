"""Draws the shares of the last label that randomized sets are made with."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, data
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array, Tensor

# The constants of SplitMix64, which mixes the bits of a word.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXES = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
# Numbers of keys from here on are of shares, and those below of draws.
_FIRST, _MOST = 2**40, 2**40


def of_predictions(p: Array, seed: int) -> Array:
    """Draws a share from 0 to 1 for each place, `[..., 1]`.

    It is a number of the place in x and one of its probabilities, added up. So
    rows that are asked for one by one have shares of their own, and so have
    rows of one batch that are alike.

    Args:
        p: the probabilities of the places, `[..., K]`.
        seed: that of the numbers.
    """
    bits = np.ascontiguousarray(p, np.float64).view(np.uint64)
    odd = 2 * np.arange(p.shape[-1], dtype=np.uint64) + np.uint64(1)
    word = np.sum(bits * odd * _GOLDEN, axis=-1, keepdims=True)
    for shift, factor in _MIXES:
        word = (word ^ (word >> shift)) * factor
    own = (word >> np.uint64(11)) * 2.0**-53
    return (own + random.uniforms(seed, own.shape)) % 1.0


def of_key(key: Tensor, own_seed: int, places: Any) -> Tensor:
    """Draws the shares of a request, `[B, ..., 1]` in float32.

    Args:
        key: that of all rows `[2]`, or of each one `[B, 2]`, which is then
            answered as if it came alone.
        own_seed: that of the predictor.
        places: the shape of the places, a tensor.
    """
    keys = random.fold(key, _FIRST + own_seed % _MOST)
    rows, size = places[0], tf.reduce_prod(places[1:])
    numbers = tf.range(rows)
    if len(key.shape) == 2:
        numbers = tf.zeros_like(numbers)
    words = random.grid_bits(keys[tf.newaxis], numbers, size)
    # The 24 bits that float32 has.
    words = tf.bitwise.right_shift(words, tf.constant(8, tf.uint32))
    found = tf.cast(words, tf.float32) * 2.0**-24
    return tf.reshape(found, tf.concat([places, [1]], 0))


def given(
    seed: Any, uniforms: Any, own_seed: int, places: tuple[int, ...]
) -> Array | None:
    """Returns the shares that a caller's arguments say; None if they don't.

    Args:
        seed: None, an integer, or one for each row.
        uniforms: None, or numbers from 0 to 1 for rows or places.
        own_seed: that of the predictor.
        places: the shape of the places.

    Raises:
        TypeError: if seeds are no integers.
        ValueError: if both are given, or they don't fit.
    """
    if seed is None and uniforms is None:
        return None
    if seed is not None and uniforms is not None:
        raise ValueError(
            "`seed` and `uniforms` exclude each other, since uniforms take the "
            f"place of what a seed draws. Received: seed={seed!r} and uniforms"
        )
    if uniforms is None:
        return of_key(_key(seed, places), own_seed, tf.constant(places)).numpy()
    numbers = np.asarray(uniforms)
    data.check_numbers("`uniforms`", numbers)
    spread = over_places(numbers, places) if numbers.ndim else None
    if spread is None or not np.all((numbers >= 0) & (numbers <= 1)):
        raise ValueError(
            "`uniforms` must be numbers from 0 to 1, one for each row, or for "
            f"each place of the outputs, {places}. Received: numbers of shape "
            f"{numbers.shape}, {np.ravel(numbers)[:5]} among them"
        )
    return np.broadcast_to(spread, places)[..., np.newaxis]


def _key(seed: Any, places: tuple[int, ...]) -> Tensor:
    seeds = np.asarray(seed)
    if seeds.ndim == 0:
        return random.as_key(checks.any_integer("seed", seed))
    if seeds.dtype.kind not in "iu" or seeds.shape != places[:1]:
        raise ValueError(
            "`seed` must be an integer, or one for each of the "
            f"{places[0]} rows. Received: {seeds.dtype} of shape {seeds.shape}"
        )
    return random.as_keys(tf.constant(seeds.astype(np.int64)))
