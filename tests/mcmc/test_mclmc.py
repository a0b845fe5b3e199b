"""How far microcanonical chains keep their direction.

Of first-order autoregressive processes the autocorrelation time is known. The
estimate's standard error is under 3 percent here, its bias of a finite window
as much: a limit of 15 percent fails by chance less than once in 10,000 runs.
"""

import numpy as np
import pytest
import tensorflow as tf

from tfpbnn.mcmc.kernels import MCLMC
from tfpbnn.mcmc.kernels.memory_length import none_yet

DIRECTIONS, STRETCHES, POINTS = 300, 200, 20


def process(share, scale):
    """Points `[stretches, points, D]` of a stationary process."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(STRETCHES * POINTS, DIRECTIONS))
    path = np.empty_like(noise)
    path[0] = noise[0]
    for i in range(1, len(path)):
        path[i] = share * path[i - 1] + (1 - share**2) ** 0.5 * noise[i]
    return (scale * path).reshape((STRETCHES, POINTS, DIRECTIONS))


def seen(share, scale=1.0, center=30.0):
    """The stretches of such a process about a center."""
    points = (center + process(share, scale)).astype("float32")
    stretches = none_yet(tf.constant(points[0, :1]))
    stretches = stretches.begun(tf.constant(points[0, :1]))
    for stretch in points - points[0, 0]:
        mean = tf.constant(stretch.mean(0, keepdims=True))
        power = tf.constant((stretch**2).mean(0, keepdims=True))
        stretches = stretches.counted(mean, power)
    return stretches


@pytest.fixture(scope="module", params=[0.5, 0.9, 0.98])
def covered(request):
    share = request.param
    return seen(share), (1 + share) / (1 - share) / POINTS


def test_the_autocorrelation_time_of_a_process(covered):
    stretches, time = covered
    np.testing.assert_allclose(stretches.forgetting()[0], time, rtol=0.15)
    np.testing.assert_allclose(np.mean(stretches.variance()), 1.0, rtol=0.05)


def test_directions_are_kept_for_a_share_of_that_time(covered):
    """The mean of logarithms with what was, in units of the widths to come."""
    stretches, time = covered
    kernel = MCLMC(10, 0.8)
    rng = np.random.default_rng(0)
    memory = kernel.memory(np.zeros((1, DIRECTIONS), "float32"), None, rng)
    memory = memory._replace(stretches=stretches)
    new = kernel.carried(memory)
    expected = np.clip((0.4 * time) ** 0.5, 0.25, 4)
    np.testing.assert_allclose(new.reach[0], expected, rtol=0.1)
    assert new.stretches.count[0] == 0
    # A process three times as wide, with as long stretches: a third of it.
    wide = memory._replace(stretches=seen(0.9, 3.0))
    reach = kernel.carried(wide).reach[0]
    time = 1.9 / 0.1 / POINTS
    np.testing.assert_allclose(reach, (0.4 * time / 3) ** 0.5, rtol=0.1)


def test_few_stretches_change_nothing():
    kernel = MCLMC(10, 0.8)
    rng = np.random.default_rng(0)
    position = np.zeros((2, 3), "float32")
    memory = kernel.memory(position, None, rng)
    ones = tf.ones([2, 3])
    for _ in range(5):
        stretches = memory.stretches.counted(ones, ones)
        memory = memory._replace(stretches=stretches)
    new = kernel.carried(memory)
    np.testing.assert_array_equal(new.reach, [1.0, 1.0])
