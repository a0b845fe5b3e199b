"""What warm-up learns, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfpbnn.mcmc import adaptation
from tfpbnn.mcmc.kernels import NUTS, ChEES, Stage, Target

SCALE = np.geomspace(1e-3, 1e2, 6)  # of a Normal of independent directions
CHAINS = 3


def window(scale, positions, slopes):
    """Widths after a window of positions and slopes `[steps, C, D]`."""
    widths = adaptation.start(tf.constant(scale), CHAINS, True)
    for position, slope in zip(positions, slopes, strict=True):
        widths = widths.counted(
            tf.constant(position), tf.constant(slope) * widths.scale
        )
    return widths.ended()


@pytest.mark.parametrize("steps", [2, 20])
@pytest.mark.parametrize("step", [1.0, 1e-2], ids=["free", "much alike"])
def test_widths_of_a_normal_are_exact_after_two_draws(steps, step):
    rng = np.random.default_rng(0)
    draws = np.cumsum(step * rng.normal(size=(steps, CHAINS, 6)), 0) * SCALE
    found = window(np.ones((CHAINS, 6)), draws, -draws / SCALE**2)
    np.testing.assert_allclose(
        found.scale, np.tile(SCALE, (CHAINS, 1)), rtol=1e-6
    )


def test_widths_balance_positions_and_slopes():
    """Of any draws, and whatever the widths that the window was made with."""
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(9, CHAINS, 6))
    slopes = 3.0 + rng.normal(size=draws.shape) / SCALE
    start = np.exp(rng.normal(size=(CHAINS, 6)))
    found = window(start, draws, slopes)
    expected = (draws.var(0) / slopes.var(0)) ** 0.25
    np.testing.assert_allclose(found.scale, expected, rtol=1e-6)
    assert not np.any(found.count)


@pytest.mark.parametrize("steps", [1, 5])
def test_chains_that_have_not_moved_learn_nothing(steps):
    start = np.exp(np.random.default_rng(1).normal(size=(CHAINS, 6)))
    draws = np.ones((steps, CHAINS, 6))
    found = window(start, draws, draws)
    np.testing.assert_array_equal(found.scale, start)


@pytest.mark.parametrize("warmup", [0, 1, 10, 100, 150, 300, 500, 2000])
def test_it_is_early_until_widths_are_learned(warmup):
    flags = adaptation.schedule(warmup, 20)
    ends = np.flatnonzero(flags[:, adaptation.ENDS])
    early = int(ends[0]) + 1 if len(ends) else 0
    np.testing.assert_array_equal(
        flags[:, adaptation.IS_EARLY], np.arange(warmup + 20) < early
    )
    assert not flags[warmup:].any()


@pytest.mark.parametrize(
    ("kernel", "depth", "is_early", "most"),
    [
        (NUTS, 10, True, 63),
        (NUTS, 10, False, 1023),
        (NUTS, 3, True, 7),
        (ChEES, 10, True, 64),
        (ChEES, 10, False, 1024),
        (ChEES, 3, True, 8),
    ],
)
def test_paths_are_short_at_first(kernel, depth, is_early, most):
    """With steps so small that they never turn back; and slopes are those."""
    target = Target(lambda z: -tf.reduce_sum(z**2, -1) / 2, lambda z: z)
    kernel = kernel(depth, 0.8)
    chains = 1 + kernel.is_pooled
    position = np.ones([chains, 2], "float32")
    memory = kernel.memory(position, lambda z: z, None)
    step = tf.function(kernel.step, autograph=False)(
        target,
        tf.constant(position),
        tf.fill([chains], 1e-5),
        tf.constant([1, 2]),
        keras.tree.map_structure(tf.constant, memory),
        Stage(tf.constant(True), tf.constant(is_early)),
    )
    np.testing.assert_array_equal(step.num_gradients, [most] * chains)
    np.testing.assert_allclose(step.slope, -step.position, rtol=1e-6)


@pytest.mark.parametrize("wanted", [0.6, 0.8, 0.95])
@pytest.mark.parametrize("begin", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("states", [1, 4], ids=["hmc", "nuts"])
def test_draws_are_accepted_as_often_as_wanted(wanted, begin, states):
    """Though single steps are accepted as chance has it.

    Errors of energies are Normal(-mu, 2 mu) in many dimensions, of which the
    acceptance is 2 Phi(-sqrt(mu / 2)); mu grows with the fourth power of the
    step, and steps that are too long are never accepted. The acceptances of
    2000 chains have a mean that is known to within 0.002.
    """
    rng = np.random.default_rng(0)

    def spread(log):
        return np.where(log < 1.1, 0.13 * np.exp(4 * log), np.inf)

    state = adaptation.start_at(tf.fill([2000], np.log(begin)))
    for _ in range(50):  # the end of a warm-up
        mu = np.minimum(spread(state.log.numpy()), 1e6)
        errors = rng.normal(-mu, np.sqrt(2 * mu), (states, 2000))
        found = np.exp(np.minimum(errors, 0)).mean(0)
        state = adaptation.updated(state, tf.constant(found), wanted)
    mu = spread(state.average.numpy())
    acceptance = 2 * stats.norm.cdf(-np.sqrt(mu / 2))
    assert abs(acceptance.mean() - wanted) < 0.05
