"""The only module that draws random numbers.

Keys are `[2]` int64 tensors. TensorFlow's draws use `philox`: the default
algorithm is 26 times slower under XLA on a CPU. The bits of a key are the same
in eager mode, in a graph and under XLA, and a normal is one function of its
bits, so the draws agree there too, up to rounding.

Many keys at once, or numbers that must not depend on how work is split into
calls, take `grid_bits`: there each number has an address.
"""

import contextlib
import math
import random as python_random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.types import Tensor

_ALG = "philox"
_SQRT2 = math.sqrt(2.0)
_MULTIPLIER = 6364136223846793005  # Knuth's, of MMIX
_GOLDEN = -7046029254386353131  # 2^64 over the golden ratio, odd
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
# z / (2 u - 1) of a normal quantile z at u, as a polynomial in
# sqrt(4 - log(4 u (1 - u))) - 3.1875: a least-squares fit of the ratio on
# Chebyshev nodes, 1.5e-6 off at most.
_QUANTILE = (
    3.27849139,
    1.78162914,
    -0.095433251,
    -0.0204808928,
    0.0606302419,
    -0.0490201064,
    0.0106521618,
    0.0162043727,
    -0.0106592671,
    -0.00188232935,
    0.00212803983,
)


def any_seed() -> int:
    """A seed from Python's generator, which Keras's seed functions seed."""
    return python_random.randint(0, 2**31 - 1)


def as_key(seed: int) -> Tensor:
    """Turns an integer seed into a key."""
    if not isinstance(seed, int | np.integer):
        raise TypeError(
            f"`seed` must be None or an integer. Received: seed={seed!r}"
        )
    high, low = divmod(int(seed) % 2**64, 2**32)
    return tf.constant([low, high], tf.int64)


def as_keys(seeds: Tensor) -> Tensor:
    """`as_key` in a graph, of int64 seeds `[...]`: `[..., 2]`."""
    mask, shift = (tf.constant(n, tf.int64) for n in (2**32 - 1, 32))
    high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(seeds, shift), mask)
    return tf.stack([tf.bitwise.bitwise_and(seeds, mask), high], axis=-1)


def fresh_key() -> Tensor:
    """A key that is another one each time a graph is run.

    For exports. The raw op with seeds of 0: no seed of the process that made
    the graph is in it, no state is saved with it, and it is safe to threads.
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

    One step of a congruential generator modulo 2^64. That keeps keys apart,
    which is all it has to do: TensorFlow scrambles a key by philox before the
    draw. It costs a few scalar operations where `tf.random.fold_in` draws.

    Args:
        key: `[..., 2]`.
        data: a number, or one for each key: `[...]`, or many for one key.
    """
    first = key[..., 0] * _MULTIPLIER + tf.cast(data, tf.int64) + 1
    return tf.stack([first, tf.broadcast_to(key[..., 1], tf.shape(first))], -1)


def fold_replica(key: Tensor) -> Tensor:
    """Gives each replica of a tf.distribute strategy a key of its own."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return key
    return fold(key, context.replica_id_in_sync_group)


def bits(key: Tensor, shape: Any, dtype: Any = tf.uint32) -> Tensor:
    """Uniform random integers over the whole range of `dtype`."""
    return tf.random.stateless_uniform(
        shape, key, minval=None, maxval=None, dtype=dtype, alg=_ALG
    )


def normal_from_bits(words: Tensor) -> Tensor:
    """Standard normals by inversion: uint32 to float32, uint64 to float64.

    The uniforms are the midpoints of `2^-23` (`2^-52`) wide cells, so they are
    never 0 or 1 and symmetric about 1/2: |z| stays below 5.4 (8.2).
    """
    wide = words.dtype == tf.uint64
    integer, floating, kept = (
        (tf.int64, tf.float64, 52) if wide else (tf.int32, tf.float32, 23)
    )
    drop = tf.constant(words.dtype.size * 8 - kept, words.dtype)
    cells = tf.cast(
        tf.bitcast(tf.bitwise.right_shift(words, drop), integer), floating
    )
    # 2 u - 1, exactly: the cells and the halves are small integers.
    return _SQRT2 * tf.math.erfinv(
        (cells + 0.5) * (2.0 ** (1 - kept)) - tf.ones((), floating)
    )


def fast_normal_from_bits(words: Tensor) -> Tensor:
    """`normal_from_bits` of uint32, to be called under XLA only.

    One logarithm and one polynomial: half the time of `erfinv` in a compiled
    loop, and several times its time as graph operations.
    """
    cells = tf.bitwise.right_shift(words, tf.constant(9, tf.uint32))
    twice = tf.cast(tf.bitcast(cells, tf.int32), tf.float32) + 0.5
    twice *= 2.0**-22  # 2 u
    x = tf.sqrt(4.0 - tf.math.log(twice * (2.0 - twice))) - 3.1875
    ratio = tf.fill([], _QUANTILE[-1])
    for coefficient in _QUANTILE[-2::-1]:
        ratio = ratio * x + coefficient
    return (twice - 1.0) * ratio


def fast_normal(key: Tensor, shape: Any) -> Tensor:
    """`normal(key, shape)` in float32, to be called under XLA only.

    There the bits too are a part of whatever loop uses the normals.
    """
    return fast_normal_from_bits(bits(key, shape))


def normal(key: Tensor, shape: Any, dtype: Any = tf.float32) -> Tensor:
    """Standard normals of `shape`; half precision is drawn in float32."""
    dtype = tf.as_dtype(dtype)
    word = tf.uint64 if dtype == tf.float64 else tf.uint32
    return tf.cast(normal_from_bits(bits(key, shape, word)), dtype)


def signs(key: Tensor, shape: Any, dtype: Any = tf.float32) -> Tensor:
    """Independent signs, +1 or -1 with probability 1/2, one random bit each."""
    shape = tf.convert_to_tensor(shape, tf.int32)
    size = tf.reduce_prod(shape)
    words = bits(key, [(size + 63) // 64], tf.uint64)
    octets = tf.reshape(tf.bitcast(words, tf.uint8), [-1, 1])
    masks = tf.constant([[1, 2, 4, 8, 16, 32, 64, 128]], tf.uint8)
    heads = tf.bitwise.bitwise_and(octets, masks) != tf.constant(0, tf.uint8)
    flat = tf.reshape(tf.cast(heads, dtype), [-1])[:size] * 2 - 1
    return tf.reshape(flat, shape)


def _rotate(words: Tensor, count: int) -> Tensor:
    left = tf.bitwise.left_shift(words, tf.constant(count, tf.uint32))
    right = tf.bitwise.right_shift(words, tf.constant(32 - count, tf.uint32))
    return tf.bitwise.bitwise_or(left, right)


def threefry(
    key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Threefry-2x32 with 20 rounds: two random words for a key and a counter.

    Elementwise, so that every number has an address. uint32 throughout.

    Reference:
        [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405)
    """
    parity = tf.constant(0x1BD11BDA, tf.uint32)
    parity = tf.bitwise.bitwise_xor(parity, key[0])
    keys = (*key, tf.bitwise.bitwise_xor(parity, key[1]))
    first, second = counter[0] + keys[0], counter[1] + keys[1]
    for number in range(1, 6):  # 5 times 4 rounds
        for count in _ROTATIONS[(number - 1) % 2]:
            first += second
            second = tf.bitwise.bitwise_xor(_rotate(second, count), first)
        first += keys[number % 3]
        second += keys[(number + 1) % 3] + tf.constant(number, tf.uint32)
    return first, second


def grid_bits(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    """`size` random words for each key and each row number.

    Each word depends on its key, the number of its row, its place in the row
    and the row's size, and on no other key or row that is asked for.

    Args:
        keys: `[S, 2]`, or `[S, B, 2]` for one of each row.
        rows: `[B]`, integers.
        size: how many words a row has.

    Returns:
        `[S, B, size]`, uint32.
    """
    words = _grid_words(keys, rows, tf.range((size + 1) // 2))
    return tf.concat(words, axis=-1)[..., :size]


def fast_grid_bits(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    """`grid_bits`, to be called under XLA only.

    There one loop that makes each pair of words twice, to keep one of them,
    takes less time than joining the two halves in the midst of a loop.
    """
    half, places = (size + 1) // 2, tf.range(size)
    is_first = places < half
    numbers = tf.where(is_first, places, places - half)
    return tf.where(is_first, *_grid_words(keys, rows, numbers))


def _grid_words(
    keys: Tensor, rows: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    if len(keys.shape) == 2:
        keys = keys[:, tf.newaxis]
    mixed = tf.bitcast(keys[..., 0] + keys[..., 1] * _GOLDEN, tf.uint32)
    return threefry(
        (mixed[..., :1], mixed[..., 1:]),
        (tf.cast(places, tf.uint32), tf.cast(rows, tf.uint32)[:, tf.newaxis]),
    )


def normal_grid(keys: Tensor, rows: Tensor, size: int) -> Tensor:
    """Normals of `grid_bits`, by hundreds of operations that a graph has once.

    Args:
        keys: as there.
        rows: as there.
        size: as there.
    """
    keys = keys[:, tf.newaxis] if len(keys.shape) == 2 else keys
    return _normal_grid(keys, tf.cast(rows, tf.int64), size)


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None, 2], tf.int64),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([], tf.int32),
    ],
    autograph=False,
)
def _normal_grid(keys: Tensor, rows: Tensor, size: Tensor) -> Tensor:
    return normal_from_bits(grid_bits(keys, rows, size))


def uniforms(seed: int, shape: Any) -> np.ndarray:
    """NumPy numbers between 0 and 1, for eager work outside of a graph."""
    return np.random.default_rng(seed).uniform(size=shape)


def generator(seed: int | None) -> np.random.Generator:
    """NumPy's generator; None follows Keras's seed, as everywhere."""
    return np.random.default_rng(any_seed() if seed is None else seed)


def choices(
    seed: int | None, high: int, size: int
) -> tuple[np.ndarray, Tensor]:
    """`size` integers in [0, high), and an independent seed for TFP.

    Eager work outside of a graph, where TFP samples the distributions. A seed
    of None follows `keras.utils.set_random_seed`, as everywhere.
    """
    if seed is None:
        seed = any_seed()
    generator = np.random.default_rng(seed)
    picked = generator.integers(0, high, size)
    return picked, tf.constant(generator.integers(0, 2**31, 2), tf.int32)


class DrawScope:
    """Tells every random layer called inside which draws to use.

    A layer takes its key from the scope's and from its own number: the order
    of first call inside the scope, so a layer that is called twice gets the
    same draw, and the numbers don't depend on the process. There are four
    kinds of scope:

    - `key` is None: layers use their posterior means;
    - `key [2]`: one draw, the same kernel for all rows;
    - `key [S, 2]`: S draws at once. Layers give `[S * B, ...]`, draw by draw,
      from inputs that are stacked likewise, or `[B, ...]` if `is_shared`;
      or `[B * S, ...]`, row by row, if `is_by_row`, which is for layers that
      are all given `[B, ...]`;
    - `key [S, 2]` and `rows [B]`: the same, but each row has draws of its own.
      The key may be `[S, B, 2]`, one for each row.

    Attributes:
        key: as above.
        rows: the numbers of the rows.
        is_shared: whether the layer that is called next is given `[B, ...]`.
        is_by_row: whether stacks are ordered by row, then by draw.
        signs: of the noise, 1 or -1, `[S]` or a number; None for 1.
        known: what was computed for an object before the draws, by its id.
        numbers: of the draws, a number or `[S]`; None if they have none.
        num_layers: how many random layers have asked so far.
    """

    def __init__(
        self,
        key: Tensor | None,
        rows: Tensor | None = None,
        signs: Tensor | None = None,
        known: dict[int, Any] | None = None,
        numbers: Tensor | None = None,
    ):
        self.key = key
        self.rows = rows
        self.signs = signs
        self.is_shared = False
        self.is_by_row = False
        self.known = known or {}
        self.numbers = numbers
        self._layers: dict[int, int] = {}

    @property
    def is_stacked(self) -> bool:
        return self.key is not None and len(self.key.shape) > 1

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def key_for(self, layer: Any) -> Tensor | None:
        number = self._layers.setdefault(id(layer), len(self._layers))
        return None if self.key is None else fold(self.key, number)


_local = threading.local()


def current_scope() -> DrawScope | None:
    """The innermost open `DrawScope` of this thread."""
    return getattr(_local, "scope", None)


def known(owner: Any) -> Any:
    """What the current scope knows of an object; None if nothing."""
    scope = current_scope()
    return None if scope is None else scope.known.get(id(owner))


@contextlib.contextmanager
def entered(scope: DrawScope) -> Iterator[DrawScope]:
    """Makes a scope that of the layers called inside."""
    outer = current_scope()
    _local.scope = scope
    try:
        yield scope
    finally:
        _local.scope = outer


def draw_scope(
    key: Tensor | None,
) -> contextlib.AbstractContextManager[DrawScope]:
    """A scope for one draw, or for the means, of all layers called inside."""
    return entered(DrawScope(key))
