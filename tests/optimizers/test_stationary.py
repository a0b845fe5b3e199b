"""What the samplers' chains are samples of, where the theory tells it."""

import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.optimizers import chains
from tests.optimizers.chains import ETA, PRECISION, RATE, ROWS
from tests.statistics import assert_covariance, assert_moments
from tfpbnn.optimizers import PSGLD, SGHMC, SGLD, SGNHT, schedules

NOISE = 60.0  # of the energy's gradient
A = ETA * PRECISION  # 0.2: steps so large that their bias is seen


def sgld(noise, heat):
    """`w <- (1 - A) w + s e` has the variance s^2 / (1 - (1 - A)^2)."""
    return (2 * ETA * heat + (ETA * noise) ** 2) / (1 - (1 - A) ** 2)


def second_order(noise, heat, friction, drive):
    """The variance of `w' = (2 - f - A) w - (1 - f) w_before + s e`."""
    s = 2 * drive * ETA * heat + (ETA * noise) ** 2
    first, second = 2 - friction - A, -(1 - friction)
    return s * (1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))


CASES = {
    "sgld": (SGLD, {}, 0.0, sgld(0, 1)),
    "sgld-noise": (SGLD, {}, NOISE, sgld(NOISE, 1)),
    "sgld-cold": (SGLD, {"temperature": 0.3}, 0.0, sgld(0, 0.3)),
    "sghmc": (SGHMC, {}, 0.0, second_order(0, 1, 0.1, 0.1)),
    "sghmc-noise": (SGHMC, {}, NOISE, second_order(NOISE, 1, 0.1, 0.1)),
    "sghmc-known-noise": (
        SGHMC,
        {"momentum": 0.7, "noise_estimate": ETA * NOISE**2 / 2},
        NOISE,
        second_order(0, 1, 0.3, 0.3),
    ),
    "sgnht": (SGNHT, {}, 0.0, 1 / PRECISION),
    "sgnht-noise": (SGNHT, {}, NOISE, 1 / PRECISION),
    "sgnht-cold": (SGNHT, {"temperature": 0.3}, NOISE, 0.3 / PRECISION),
}


@pytest.fixture(scope="module")
def runs():
    """The samples of each case, and its optimizer at the end."""
    runs = []
    for number, (cls, arguments, noise, _) in enumerate(CASES.values()):
        optimizer = cls(RATE, ROWS, prior=None, seed=number, **arguments)
        weight = chains.built(optimizer)
        runs.append((optimizer, weight, chains.quadratic(noise)))
    optimizers = [optimizer for optimizer, *_ in runs]
    pairs = zip(chains.visited(runs), optimizers, strict=True)
    return dict(zip(CASES, pairs, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_on_a_quadratic_with_known_noise(case, runs):
    """Chains, 100 steps apart, are independent to 1e-4. False alarms: 1e-6."""
    variance = CASES[case][-1]
    draws = runs[case][0].reshape(-1, 1)
    assert_moments(draws, 0, variance**0.5, detects=0.1)


@pytest.mark.parametrize(
    ("case", "noise"), [("sgnht", 0.0), ("sgnht-noise", NOISE)]
)
def test_thermostats_learn_how_noisy_all_is(case, noise, runs):
    """The friction f makes up for all noise, its own and that of gradients.

    The variance of the weights is 1 / PRECISION where a step's noise has the
    variance `ETA f (2 - A / (2 - f))`. f fluctuates with the variance r / n.
    False alarms: 1e-6; noise of a tenth more variance is mostly seen.
    """
    f = float(runs[case][1].variables[-2])
    learned = f * (2 - A / (2 - f))
    expected = 2 * 0.1 + ETA * noise**2
    deviation = 2 * (0.01 / chains.CHAINS) ** 0.5
    assert abs(learned - expected) < 4.9 * deviation


def preconditioned():
    """A chain in whose gradients noise dominates, so that G is constant.

    It is SGLD of the rate h G. v starts at the square of the noise; the signal
    adds 0.4 % to it.
    """
    noise = 3000.0
    size = noise / ROWS
    optimizer = PSGLD(
        RATE * size, ROWS, prior=None, seed=1, rho=0.9999, epsilon=1e-8
    )
    weight = chains.built(optimizer)
    optimizer.variables[-1].assign(np.full(chains.CHAINS, size**2))
    return optimizer, weight, chains.quadratic(noise)


PAIR = np.array([[2000.0, 900.0], [900.0, 1000.0]])
OF_PRIOR, CENTRE, COLD = 400.0, np.array([0.02, -0.05]), 0.5


def pairs(cls, rate, prior):
    """Pairs of weights of a cold posterior, the precision PAIR about CENTRE.

    400 of the precision is the prior's, whose centre is 0.
    """
    optimizer = cls(rate, ROWS, temperature=COLD, prior=prior, seed=2)
    weight = chains.built(optimizer, np.tile(CENTRE, (chains.CHAINS, 1)))
    of_loss = tf.constant(PAIR - OF_PRIOR * np.eye(2), tf.float32)
    offset = tf.constant(PAIR @ CENTRE, tf.float32)
    return optimizer, weight, lambda weight, _: weight @ of_loss - offset


def with_bias(rate):
    """What SGLD samples of the posterior, at a rate that is not small."""
    eta = rate / ROWS
    return COLD * np.linalg.inv(PAIR @ (np.eye(2) - eta * PAIR / 2))


def test_preconditioned_and_correlated_weights():
    """Both have the moments of the theory. False alarms: 3e-6.

    Means and covariances of pairs, of either form of a prior; the bias of
    SGHMC's steps is 1 % at most.
    """
    normal = tfpbnn.priors.Normal(scale=OF_PRIOR**-0.5)
    runs = [pairs(SGLD, RATE, OF_PRIOR), pairs(SGHMC, 0.01, normal)]
    scaled, sgld_pairs, sghmc_pairs = chains.visited(
        [preconditioned(), *runs], 3000, 500, 1000
    )
    draws = scaled.reshape(-1, 1)
    assert_moments(draws, 0, sgld(3000.0, 1) ** 0.5, detects=0.15)
    assert_covariance(sgld_pairs.reshape(-1, 2), CENTRE, with_bias(RATE))
    covariance = COLD * np.linalg.inv(PAIR)
    assert_covariance(sghmc_pairs.reshape(-1, 2), CENTRE, covariance)


def two_modes(weight, _):
    """The gradient of minus the log-density of Normals at 3 and at -3."""
    return (weight - 3 * tf.tanh(3 * weight / 0.09)) / 0.09


def test_cycles_find_both_modes_and_sample_around_them():
    """Of two modes 20 standard deviations apart; plain SGLD stays in one."""
    start = np.random.default_rng(0).normal(3, 0.3, chains.CHAINS)
    rate = 2.5 * 0.09 * ROWS  # gradient descent leaves a mode with it
    runs = []
    for each in (schedules.Cyclical(rate, 200, exploration=0.8), 0.1 * rate):
        optimizer = SGLD(each, ROWS, prior=None, seed=1)
        runs.append((optimizer, chains.built(optimizer, start), two_modes))
    cyclical, plain = chains.visited(runs, 2000, 200, 0)
    share = np.mean(cyclical > 0, axis=0)
    assert np.mean((share > 0) & (share < 1)) > 0.95
    spread = np.std(np.abs(cyclical)) / 0.3
    assert abs(spread - 1) < 0.05
    assert np.all(plain > 0)
