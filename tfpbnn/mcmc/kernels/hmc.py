"""Hamiltonian Monte Carlo with paths of random lengths."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.base import Kernel, Step, acceptance, is_divergent

# A quarter of a turn, on which a Normal's draws are independent. Lengths are
# drawn up to twice that, so that no direction comes back to where it was.
_LENGTH = math.pi / 2


class HMC(Kernel):
    """Hamiltonian Monte Carlo, with the number of its leapfrog steps drawn.

    Reference:
        [Neal, 2011](https://arxiv.org/abs/1206.1901)
    """

    def step(
        self,
        log_prob: Callable[[Tensor], Tensor],
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
    ) -> Step:
        of_length, of_path = tf.unstack(
            tf.random.experimental.stateless_split(seed, 2)
        )
        share = tf.random.stateless_uniform([], of_length, dtype=position.dtype)
        steps = 2 * _LENGTH * share / tf.reduce_min(step_size)
        most = 2.0**self.max_tree_depth
        count = tf.cast(
            tf.clip_by_value(tf.math.ceil(steps), 1, most), tf.int32
        )
        kernel = tfp.mcmc.HamiltonianMonteCarlo(
            log_prob,
            step_size=step_size[:, tf.newaxis],
            num_leapfrog_steps=count,
        )
        before = kernel.bootstrap_results(position)
        position, after = kernel.one_step(position, before, seed=of_path)
        found = after.accepted_results
        (momentum,) = found.final_momentum
        kinetic = tf.reduce_sum(tf.square(momentum), axis=-1) / 2
        return Step(
            position,
            found.target_log_prob,
            acceptance(after.log_accept_ratio),
            kinetic - found.target_log_prob,
            is_divergent(after.log_accept_ratio),
            tf.fill(tf.shape(position)[:1], count),
        )
