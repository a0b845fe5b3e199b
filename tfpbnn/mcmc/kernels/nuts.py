"""The no-U-turn sampler."""

import functools
from typing import Any, ClassVar

import tensorflow as tf

from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels.base import Kernel, Stage, Step, Target, acceptance

# The depth of trees until widths are learned. Up to then steps are as small as
# the narrowest direction wants, and long paths are not worth what they cost.
_EARLY_DEPTH = 6


class NUTS(Kernel):
    """Hamiltonian Monte Carlo whose paths end where they turn back.

    Widths are learned from positions and gradients together, which takes fewer
    of them; trees are small until there are some.

    Reference:
        [Hoffman and Gelman, 2014](https://arxiv.org/abs/1111.4246), in the
        multinomial form of [Betancourt,
        2017](https://arxiv.org/abs/1701.02434); widths of [Seyboldt, Carlson
        and Carpenter, 2026](https://arxiv.org/abs/2603.18845)
    """

    learns_from_slopes: ClassVar[bool] = True

    def step(
        self,
        target: Target,
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        stage: Stage,
    ) -> Step:
        early = min(_EARLY_DEPTH, self.max_tree_depth)
        kernel = _up_to()(
            tf.where(stage.is_early, early, self.max_tree_depth),
            target.log_prob,
            step_size=step_size[:, tf.newaxis],
            max_tree_depth=self.max_tree_depth,
        )
        before = kernel.bootstrap_results(position)
        position, after = kernel.one_step(position, before, seed=seed)
        (slope,) = after.grads_target_log_prob
        return Step(
            position,
            after.target_log_prob,
            acceptance(after.log_accept_ratio),
            after.energy,
            after.has_divergence,
            after.leapfrogs_taken,
            slope=slope,
        )


@functools.cache
def _up_to() -> Any:
    """Makes the class of trees whose depth is known when the program runs.

    It is made here since TFP is imported where it is used.
    """

    class UpTo(tfp.mcmc.NoUTurnSampler):
        def __init__(self, depth: Tensor, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self._depth = depth

        @property
        def max_tree_depth(self) -> Tensor:
            return self._depth

    return UpTo
