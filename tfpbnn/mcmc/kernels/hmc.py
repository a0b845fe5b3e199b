"""Hamiltonian Monte Carlo with paths of random lengths."""

import math
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.base import Kernel, Stage, Step, Target
from tfpbnn.mcmc.kernels.paths import steps_along, walked

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
        target: Target,
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        stage: Stage,
    ) -> Step:
        of_length, of_path = tf.unstack(
            tf.random.experimental.stateless_split(seed, 2)
        )
        share = tf.random.stateless_uniform([], of_length, dtype=position.dtype)
        most = tf.constant(2.0**self.max_tree_depth, position.dtype)
        length = 2 * _LENGTH * share
        count = steps_along(length, tf.reduce_min(step_size), most)
        return walked(target.log_prob, position, step_size, count, of_path)[0]
