"""Draws random numbers, which no other place does.

TensorFlow's draws use Philox: the default algorithm is 26 times slower under
XLA on a CPU. The bits of a key are the same in eager mode, in a graph and under
XLA, and a normal is one function of its bits, so draws agree there too, up to
rounding.

`keys` makes and derives keys, `normals` draws for one key, `grid` gives many
keys at once random numbers that have addresses, `scope` tells layers which
draws to use. To add a distribution: a method of `numbers.RandomNumbers`.
"""

from tfpbnn.random.grid import (
    LEAST_ROUNDS,
    fast_grid_bits,
    grid_bits,
    normal_grid,
    threefry,
)
from tfpbnn.random.keys import (
    any_seed,
    as_key,
    as_keys,
    choices,
    fold,
    fold_replica,
    fresh_key,
    generator,
    key_or_new,
    uniforms,
)
from tfpbnn.random.normals import (
    bits,
    fast_normal,
    fast_normal_from_bits,
    normal,
    normal_from_bits,
    signs,
)
from tfpbnn.random.numbers import RandomNumbers
from tfpbnn.random.scope import (
    Drawing,
    DrawScope,
    current_scope,
    draw_scope,
    entered,
    known,
    signed,
    signs_of_draws,
)
