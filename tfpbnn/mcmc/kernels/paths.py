"""Paths of Hamiltonian dynamics, with a given number of leapfrog steps."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.base import Step, acceptance, is_divergent


class Path(NamedTuple):
    """One path of each of C chains, whether or not it was accepted.

    Attributes:
        start: where the paths begin, `[C, D]`.
        end: where they end.
        velocity: the velocities at their ends.
    """

    start: Tensor
    end: Tensor
    velocity: Tensor


def walked(
    log_prob: Callable[[Tensor], Tensor],
    position: Tensor,
    step_size: Tensor,
    count: Tensor,
    seed: Tensor,
) -> tuple[Step, Path]:
    """Moves the chains along paths of as many steps, and accepts or rejects.

    Args:
        log_prob: log-densities `[C]` of positions `[C, D]`.
        position: where the chains are, `[C, D]`.
        step_size: of each chain, `[C]`.
        count: the number of leapfrog steps of all chains, a scalar.
        seed: of this step, `[2]`.

    Returns:
        the step, without a memory, and the paths.
    """
    kernel = tfp.mcmc.HamiltonianMonteCarlo(
        log_prob,
        step_size=step_size[:, tf.newaxis],
        num_leapfrog_steps=count,
    )
    before = kernel.bootstrap_results(position)
    new, after = kernel.one_step(position, before, seed=seed)
    found = after.accepted_results
    (momentum,), (slope,) = found.final_momentum, found.grads_target_log_prob
    kinetic = tf.reduce_sum(tf.square(momentum), axis=-1) / 2
    step = Step(
        new,
        found.target_log_prob,
        acceptance(after.log_accept_ratio),
        kinetic - found.target_log_prob,
        is_divergent(after.log_accept_ratio),
        tf.fill(tf.shape(position)[:1], count),
        slope=slope,
    )
    (velocity,) = after.proposed_results.final_momentum
    return step, Path(position, after.proposed_state, velocity)


def steps_along(length: Tensor, step_size: Tensor, most: Tensor) -> Tensor:
    """How many steps go along a length: at least one, and at most `most`."""
    count = tf.math.ceil(length / step_size)
    # What is not finite is as far as can be.
    count = tf.where(tf.math.is_finite(count), count, most)
    return tf.cast(tf.clip_by_value(count, 1, most), tf.int32)
