"""Draws numbers that have addresses, by Threefry, for many keys at once.

Each number depends on its key, row and place alone, so that it does not depend
on how work is split into calls.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.random.normals import normal_from_bits

_GOLDEN = -7046029254386353131  # 2^64 over the golden ratio, odd
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
# With a wide margin, and the least that pass all of BigCrush.
ROUNDS, LEAST_ROUNDS = 20, 13


def _rotate(words: Tensor, count: int) -> Tensor:
    left = tf.bitwise.left_shift(words, tf.constant(count, tf.uint32))
    right = tf.bitwise.right_shift(words, tf.constant(32 - count, tf.uint32))
    return tf.bitwise.bitwise_or(left, right)


def threefry(
    key: tuple[Tensor, Tensor],
    counter: tuple[Tensor, Tensor],
    rounds: int = ROUNDS,
) -> tuple[Tensor, Tensor]:
    """Makes two random words of a key and a counter.

    This is Threefry-2x32. It is elementwise, so that every number has an
    address. All words are uint32.

    Reference:
        [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405)
    """
    parity = tf.constant(0x1BD11BDA, tf.uint32)
    parity = tf.bitwise.bitwise_xor(parity, key[0])
    keys = (*key, tf.bitwise.bitwise_xor(parity, key[1]))
    first, second = counter[0] + keys[0], counter[1] + keys[1]
    for number in range(rounds):
        first += second
        second = _rotate(second, _ROTATIONS[number // 4 % 2][number % 4])
        second = tf.bitwise.bitwise_xor(second, first)
        if number % 4 == 3:
            turn = number // 4 + 1
            first += keys[turn % 3]
            second += keys[(turn + 1) % 3] + tf.constant(turn, tf.uint32)
    return first, second


def grid_bits(
    keys: Tensor, rows: Tensor, size: int, rounds: int = ROUNDS
) -> Tensor:
    """Makes `size` random words for each key and each row number.

    Each word depends on its key, the number of its row, its place in the row
    and the row's size, and on no other key or row that is asked for.

    Args:
        keys: `[S, 2]`, or `[S, B, 2]` for one of each row.
        rows: the numbers of the rows, integers `[B]`.
        size: the number of words of a row.
        rounds: of Threefry.

    Returns:
        Words of uint32, `[S, B, size]`.
    """
    words = _grid_words(keys, rows, tf.range((size + 1) // 2), rounds)
    return tf.concat(words, axis=-1)[..., :size]


def fast_grid_bits(
    keys: Tensor, rows: Tensor, size: int, rounds: int = ROUNDS
) -> Tensor:
    """Makes the words of `grid_bits`; to be called under XLA only.

    There a loop that makes each pair of words twice, and keeps one of them,
    takes less time than to join the two halves in the midst of a loop.
    """
    half, places = (size + 1) // 2, tf.range(size)
    is_first = places < half
    numbers = tf.where(is_first, places, places - half)
    return tf.where(is_first, *_grid_words(keys, rows, numbers, rounds))


def _grid_words(
    keys: Tensor, rows: Tensor, places: Tensor, rounds: int
) -> tuple[Tensor, Tensor]:
    if len(keys.shape) == 2:
        keys = keys[:, tf.newaxis]
    mixed = tf.bitcast(keys[..., 0] + keys[..., 1] * _GOLDEN, tf.uint32)
    return threefry(
        (mixed[..., :1], mixed[..., 1:]),
        (tf.cast(places, tf.uint32), tf.cast(rows, tf.uint32)[:, tf.newaxis]),
        rounds,
    )


def normal_grid(
    keys: Tensor, rows: Tensor, size: int, rounds: int = ROUNDS
) -> Tensor:
    """Makes normals of the words that `grid_bits` gives, `[S, B, size]`.

    The hundreds of operations that they take are in a graph only once.
    """
    keys = keys[:, tf.newaxis] if len(keys.shape) == 2 else keys
    return _normal_grid(rounds)(keys, tf.cast(rows, tf.int64), size)


@functools.cache
def _normal_grid(rounds: int) -> Callable[..., Tensor]:
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 2], tf.int64),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([], tf.int32),
        ],
        autograph=False,
    )
    def normals(keys: Tensor, rows: Tensor, size: Tensor) -> Tensor:
        return normal_from_bits(grid_bits(keys, rows, size, rounds))

    return normals
