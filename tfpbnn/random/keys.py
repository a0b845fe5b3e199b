"""Makes keys of seeds, and keys of other keys.

A key decides the numbers of a draw. Keys are int64 tensors of shape `[2]`.
"""

import random as python_random
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor

_MULTIPLIER = 6364136223846793005  # Knuth's, of MMIX


def any_seed() -> int:
    """Takes a seed from Python's `random`, which Keras seeds too."""
    return python_random.randint(0, 2**31 - 1)


def as_key(seed: int) -> Tensor:
    """Turns an integer seed into a key.

    Raises:
        TypeError: if the seed is not an integer.
    """
    if not isinstance(seed, int | np.integer):
        raise TypeError(
            f"`seed` must be None or an integer. Received: seed={seed!r}"
        )
    high, low = divmod(int(seed) % 2**64, 2**32)
    return tf.constant([low, high], tf.int64)


def key_or_new(key: Tensor | None) -> Tensor:
    """Returns the key, or for None one that is new at each call.

    It is of eager code: a graph would keep the key that it was traced with.

    Raises:
        TypeError: if `key` is no key, such as a number of draws.
    """
    if key is None:
        return as_key(any_seed())
    if isinstance(key, int | np.integer | tuple | list):
        raise TypeError(
            "`key` must be None for a new draw, or a key such as "
            f"tfpbnn.random.as_key(0). Received: key={key!r}. For several "
            "draws call it several times"
        )
    return key


def as_keys(seeds: Tensor) -> Tensor:
    """Does what `as_key` does in a graph, for int64 seeds.

    Args:
        seeds: `[...]`.

    Returns:
        Keys, `[..., 2]`.
    """
    mask, shift = (tf.constant(n, tf.int64) for n in (2**32 - 1, 32))
    high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(seeds, shift), mask)
    return tf.stack([tf.bitwise.bitwise_and(seeds, mask), high], axis=-1)


def fresh_key() -> Tensor:
    """Makes a key that is another one each time a graph is run.

    Exports take it. It is made by the raw operation with seeds of 0: the graph
    has no seed of the process that made it and no state, and threads can share
    it.
    """
    return tf.raw_ops.RandomUniformInt(
        shape=[2],
        minval=tf.constant(tf.int64.min, tf.int64),
        maxval=tf.constant(tf.int64.max, tf.int64),
        seed=0,
        seed2=0,
    )


def fold(key: Tensor, data: int | Tensor) -> Tensor:
    """Derives the key number `data` (a small integer >= 0) of `key`.

    It is one step of a congruential generator modulo 2^64. That keeps keys
    apart, which is all that it has to do, since TensorFlow scrambles a key by
    Philox before it draws. It costs a few operations on scalars, where
    `tf.random.fold_in` would draw.

    Args:
        key: the keys, `[..., 2]`.
        data: a number, or one for each key, `[...]`, or many for one key.
    """
    first = key[..., 0] * _MULTIPLIER + tf.cast(data, tf.int64) + 1
    return tf.stack([first, tf.broadcast_to(key[..., 1], tf.shape(first))], -1)


def fold_replica(key: Tensor) -> Tensor:
    """Gives each replica of a tf.distribute strategy a key of its own."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return key
    return fold(key, context.replica_id_in_sync_group)


def uniforms(seed: int, shape: Any) -> np.ndarray:
    """Draws NumPy numbers between 0 and 1, for work outside of a graph."""
    return np.random.default_rng(seed).uniform(size=shape)


def generator(seed: int | None) -> np.random.Generator:
    """Makes a generator of NumPy's.

    Args:
        seed: its seed; None follows `keras.utils.set_random_seed`, as
            everywhere.
    """
    return np.random.default_rng(any_seed() if seed is None else seed)


def choices(
    seed: int | None, high: int, size: int
) -> tuple[np.ndarray, Tensor]:
    """Draws `size` integers in [0, high), and an independent seed for TFP.

    This is for work outside of a graph, where TFP samples the distributions. A
    seed of None follows `keras.utils.set_random_seed`, as everywhere.
    """
    if seed is None:
        seed = any_seed()
    generator = np.random.default_rng(seed)
    picked = generator.integers(0, high, size)
    return picked, tf.constant(generator.integers(0, 2**31, 2), tf.int32)
