"""Paths that double until they turn back."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfpbnn.mcmc.kernels import trees


def compiled(log_prob):
    """Gives the end of one path from each start `[N, D]`, and its size."""

    def one(start, number, step_size, depth):
        seed = tf.stack([number, 7])
        tree = trees.grown(log_prob, start, step_size, depth, 10, seed)
        return tree.draw.position, tree.draw.log_prob, tree.size

    @tf.function(jit_compile=True)
    def run(starts, step_size, depth):
        return tf.map_fn(
            lambda pair: one(*pair, step_size, depth),
            (starts, tf.range(len(starts))),
            fn_output_signature=(starts.dtype, starts.dtype, tf.int32),
        )

    def grown(starts, step_size, depth=10):
        step_size = tf.constant(step_size, starts.dtype)
        found = run(tf.constant(starts), step_size, tf.constant(depth))
        return [np.asarray(values) for values in found]

    return grown


@compiled
def normal(position):
    return -tf.reduce_sum(tf.square(position), -1) / 2


@pytest.mark.parametrize("around", [8, 12, 16, 20])
def test_paths_turn_back_where_all_directions_turn_together(around):
    """Also where steps are a whole part of a turn, after which all is anew."""
    starts = np.random.default_rng(around).normal(size=(50, 300))
    sizes = normal(starts, 2 * math.pi / around)[-1]
    assert np.max(sizes) < 2 * around


@compiled
def bent_ends(position):
    return bent(position)


def bent(position):
    """A Normal and, given it, another about its square."""
    x, y = tf.unstack(position, axis=-1)
    return -(x**2 + 4 * (y - x**2) ** 2) / 2


@pytest.mark.parametrize(
    ("step_size", "depth"), [(0.3, 10), (0.5, 10), (0.3, 2)]
)
def test_what_is_drawn_from_stays_as_it_is(step_size, depth):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 40_000))
    starts = np.stack([x, x**2 + noise / 2], -1)
    ends, log_probs, _ = bent_ends(starts, step_size, depth)
    # Each with a false-alarm rate of 1e-5.
    y = 2 * (ends[:, 1] - ends[:, 0] ** 2)
    for values in (ends[:, 0], y, (ends[:, 0] + y) / math.sqrt(2)):
        assert scipy.stats.kstest(values, "norm").pvalue > 1e-5
    found = scipy.stats.kstest(-2 * log_probs, "chi2", args=(2,))
    assert found.pvalue > 1e-5
    np.testing.assert_allclose(log_probs, bent(ends), rtol=1e-6, atol=1e-8)
    # Most have moved.
    assert np.mean(np.all(starts == ends, axis=-1)) < 0.5


def test_all_parts_of_a_branch_are_looked_at():
    """The first point at which a part that doubling makes turns back."""
    rng = np.random.default_rng(1)
    ends = []
    for _ in range(30):
        # Momenta that turn slowly, and once in a while by much.
        angles = np.cumsum(rng.gumbel(0.1, 0.3, size=32))
        momenta = np.stack([np.cos(angles), np.sin(angles)], -1)
        momenta *= rng.lognormal(0, 0.7, size=(32, 1))
        expected = next((n for n in range(32) if turns(momenta, n)), None)
        corners, total = (
            trees.Corners.none(tf.constant(momenta[0]), 5),
            0 * momenta[0],
        )
        for number, momentum in enumerate(momenta):
            corners = corners.with_one(tf.constant(number), momentum, total)
            total = total + momentum
            if corners.turn(tf.constant(number), momentum, total):
                break
        else:
            number = None
        assert number == expected
        ends.append(number)
    assert len(set(ends)) > 5


def turns(momenta, last):
    """Whether a part of 2, 4, ... points that ends there turns back."""
    size = 2
    while (last + 1) % size == 0:
        part = momenta[last + 1 - size : last + 1]
        way = part.sum(0) - (part[0] + part[-1]) / 2
        if min(part[0] @ way, part[-1] @ way) <= 0:
            return True
        size *= 2
    return False
