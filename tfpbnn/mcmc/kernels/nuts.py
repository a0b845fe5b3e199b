"""The no-U-turn sampler."""

from typing import Any

import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.base import Kernel, Step, Target, acceptance


class NUTS(Kernel):
    """Hamiltonian Monte Carlo whose paths end where they turn back.

    Reference:
        [Hoffman and Gelman, 2014](https://arxiv.org/abs/1111.4246), in the
        multinomial form of [Betancourt,
        2017](https://arxiv.org/abs/1701.02434)
    """

    def step(
        self,
        target: Target,
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        adapts: Tensor,
    ) -> Step:
        kernel = tfp.mcmc.NoUTurnSampler(
            target.log_prob,
            step_size=step_size[:, tf.newaxis],
            max_tree_depth=self.max_tree_depth,
        )
        before = kernel.bootstrap_results(position)
        position, after = kernel.one_step(position, before, seed=seed)
        return Step(
            position,
            after.target_log_prob,
            acceptance(after.log_accept_ratio),
            after.energy,
            after.has_divergence,
            after.leapfrogs_taken,
        )
