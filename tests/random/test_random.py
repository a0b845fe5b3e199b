import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from tests.statistics import FALSE_FAIL, assert_correlation, assert_moments
from tfpbnn import random


def test_normals_are_normal():
    draws = random.normal(random.as_key(1), [200_000]).numpy()
    assert stats.kstest(draws, "norm").pvalue > FALSE_FAIL
    # The fourth moment sees tails that Kolmogorov-Smirnov does not: its
    # standard error is sqrt(96 / n).
    z = (np.mean(draws**4) - 3) / np.sqrt(96 / draws.size)
    assert abs(z) < stats.norm.isf(FALSE_FAIL / 2)


def test_normals_reach_the_tails_and_stay_finite():
    lowest, highest = tf.constant([0, 2**32 - 1], tf.uint32)
    extremes = random.normal_from_bits(tf.stack([lowest, highest])).numpy()
    np.testing.assert_allclose(extremes, [-5.29, 5.29], atol=0.05)
    wide = tf.constant([0, 2**64 - 1], tf.uint64)
    np.testing.assert_allclose(
        random.normal_from_bits(wide), [-8.2, 8.2], atol=0.1
    )


def test_inversion_is_that_of_scipy():
    words = tf.constant(np.arange(0, 2**32, 2**20, dtype=np.uint32))
    uniform = ((words.numpy() >> 9) + 0.5) / 2**23
    np.testing.assert_allclose(
        random.normal_from_bits(words), stats.norm.ppf(uniform), atol=2e-5
    )


def test_fast_inversion_is_that_of_scipy_in_every_cell():
    words = np.arange(2**23, dtype=np.uint32) << 9
    fast = tf.function(random.fast_normal_from_bits, jit_compile=True)
    expected = special.ndtri((np.arange(2**23) + 0.5) / 2**23)
    np.testing.assert_allclose(fast(tf.constant(words)), expected, rtol=2e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    draws = random.normal(random.as_key(3), [20_000], dtype)
    assert draws.dtype == dtype
    assert_moments(tf.cast(draws, "float64").numpy()[:, None], 0.0, 1.0)


def test_draws_agree_with_and_without_xla():
    key = random.as_key(5)

    def draw():
        return random.normal(key, [1000]), random.signs(key, [7, 9])

    eager = draw()
    for jit_compile in (False, True):
        compiled = tf.function(draw, jit_compile=jit_compile)()
        np.testing.assert_allclose(compiled[0], eager[0], atol=2e-5)
        np.testing.assert_array_equal(compiled[1], eager[1])
    fast = tf.function(random.fast_normal, jit_compile=True)
    np.testing.assert_allclose(fast(key, [1000]), eager[0], atol=2e-5)


def test_signs_are_fair_and_independent():
    signs = random.signs(random.as_key(7), [40_000, 3]).numpy()
    assert set(np.unique(signs)) == {-1.0, 1.0}
    heads = (signs > 0).sum(0)
    for count in heads:
        assert stats.binomtest(int(count), 40_000).pvalue > FALSE_FAIL
    assert_correlation(signs[:, 0], signs[:, 1], 0.0)
    assert_correlation(signs[:-1, 2], signs[1:, 2], 0.0)


@pytest.mark.parametrize("shape", [[1], [3, 5], [64], [65, 1, 2]])
def test_signs_of_any_size(shape):
    assert random.signs(random.as_key(0), shape).shape == shape


def test_keys_differ_by_fold_and_seed():
    key = random.as_key(11)
    keys = [key, random.as_key(12), random.as_key(2**40), random.as_key(-1)]
    keys += [random.fold(key, i) for i in range(3)]
    keys += [random.fold(random.fold(key, 1), i) for i in range(3)]
    draws = np.stack([random.normal(k, [4]).numpy() for k in keys])
    assert len(np.unique(draws[:, 0])) == len(keys)


def test_folded_keys_give_independent_draws():
    key = random.as_key(13)
    a, b = (random.normal(random.fold(key, i), [50_000]) for i in (0, 1))
    assert_correlation(a, b, 0.0)


def test_scope_numbers_layers_by_first_call():
    first, second = object(), object()
    key = random.as_key(17)
    with random.draw_scope(key) as scope:
        a, b = scope.key_for(first), scope.key_for(second)
        again = scope.key_for(first)
    np.testing.assert_array_equal(a, again)
    assert np.any(a.numpy() != b.numpy())


def test_scope_without_a_key_asks_for_means():
    with random.draw_scope(None) as scope:
        assert scope.key_for(object()) is None


def test_scopes_nest_and_close():
    assert random.current_scope() is None
    with random.draw_scope(random.as_key(1)) as outer:
        with random.draw_scope(None) as inner:
            assert random.current_scope() is inner
        assert random.current_scope() is outer
    assert random.current_scope() is None


def test_scope_closes_after_an_error():
    with pytest.raises(KeyError), random.draw_scope(None):
        raise KeyError
    assert random.current_scope() is None


# Key, counter, and words of 20 and of 13 rounds: Random123's known answers.
KNOWN = [
    (
        (0, 0),
        (0, 0),
        (0x6B200159, 0x99BA4EFE),
        (0x9D1C5EC6, 0x8BD50731),
    ),
    (
        (2**32 - 1,) * 2,
        (2**32 - 1,) * 2,
        (0x1CB996FC, 0xBB002BE7),
        (0xFD36D048, 0x2D17272C),
    ),
    (
        (0x13198A2E, 0x03707344),
        (0x243F6A88, 0x85A308D3),
        (0xC4923A9C, 0x483DF7A0),
        (0xBA3E4725, 0xF27D669E),
    ),
]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_threefry_gives_the_known_answers(jit_compile):
    columns = np.array(KNOWN, np.uint32).transpose(1, 2, 0)
    key, counter, *expected = (tuple(map(tf.constant, c)) for c in columns)
    function = tf.function(random.threefry, jit_compile=jit_compile)
    for rounds, words in zip((20, 13), expected, strict=True):
        np.testing.assert_array_equal(function(key, counter, rounds), words)


def test_words_of_a_grid_have_addresses():
    keys = tf.stack([random.fold(random.as_key(3), i) for i in range(4)])
    whole = random.grid_bits(keys, tf.range(6), 7).numpy()
    assert whole.shape == (4, 6, 7)
    assert len(np.unique(whole)) == whole.size
    rows = tf.constant([5, 0, 2], tf.int64)
    part = random.grid_bits(keys[1:3], rows, 7).numpy()
    np.testing.assert_array_equal(part, whole[1:3][:, [5, 0, 2]])


@pytest.mark.parametrize("rounds", [13, 20])
@pytest.mark.parametrize("size", [1, 7, 8])
def test_the_fast_grid_has_the_same_bits(size, rounds):
    keys, rows = random.fold(random.as_key(3), tf.range(3)), tf.range(2)
    fast = tf.function(random.fast_grid_bits, jit_compile=True)
    np.testing.assert_array_equal(
        fast(keys, rows, size, rounds),
        random.grid_bits(keys, rows, size, rounds),
    )


def test_seeds_beyond_32_bits_give_grids_of_their_own():
    keys = [random.as_key(s) for s in (1, 2, 1 + 2**32, 1 + 2**33, -1)]
    words = random.grid_bits(tf.stack(keys), tf.range(1), 8).numpy()
    assert len(np.unique(words)) == words.size


@pytest.mark.parametrize("rounds", [13, 20])
def test_normals_of_a_grid_are_independent(rounds):
    """Between keys, rows and places, the two words of a counter included."""
    keys = random.fold(random.as_key(5), tf.range(50_000))
    words = random.grid_bits(keys, tf.range(2), 4, rounds)
    z = random.normal_from_bits(words).numpy()
    assert_moments(z, 0.0, 1.0)
    for a, b in [
        (z[:, 0, 0], z[:, 0, 1]),
        (z[:, 0, 0], z[:, 0, 2]),
        (z[:, 0, 0], z[:, 1, 0]),
        (z[1:, 0, 0], z[:-1, 0, 0]),
    ]:
        assert_correlation(a, b, 0.0)
        assert_correlation(a**2, b**2, 0.0)


def test_scopes_say_what_is_stacked_and_known():
    key, owner = random.as_key(1), object()
    assert not random.DrawScope(None).is_stacked
    assert not random.DrawScope(key).is_stacked
    assert random.known(owner) is None
    scope = random.DrawScope(key[None], known={id(owner): 3})
    assert scope.is_stacked
    with random.entered(scope):
        assert random.known(owner) == 3
        assert random.known(object()) is None
    # A key among others gives a layer what it gives alone.
    one = random.DrawScope(key).key_for(owner)
    np.testing.assert_array_equal(scope.key_for(owner)[0], one)
