"""The no-U-turn sampler."""

from typing import Any, ClassVar

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.mcmc.kernels import trees
from tfpbnn.mcmc.kernels.base import Kernel, Stage, Step, Target


class NUTS(Kernel):
    """Hamiltonian Monte Carlo whose paths end where they turn back.

    Widths are learned from positions and gradients together, which takes fewer
    of them; trees are small until there are some. It moves one chain: chains
    whose paths end at other times would wait for each other.

    Reference:
        [Hoffman and Gelman, 2014](https://arxiv.org/abs/1111.4246), in the
        multinomial form of [Betancourt,
        2017](https://arxiv.org/abs/1701.02434), without recursion as by [Phan,
        Pradhan and Jankowiak, 2019](https://arxiv.org/abs/1912.11554); widths
        of [Seyboldt, Carlson and Carpenter,
        2026](https://arxiv.org/abs/2603.18845)
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
        tree = trees.grown(
            target.log_prob,
            position[0],
            step_size[0],
            tf.where(stage.is_early, self.early_depth, self.max_tree_depth),
            self.max_tree_depth,
            seed,
        )
        draw = tree.draw
        acceptance = tree.acceptance / tf.cast(tree.size, position.dtype)
        found = Step(
            draw.position,
            draw.log_prob,
            acceptance,
            draw.energy,
            tree.has_diverged,
            tree.size,
            slope=draw.slope,
        )
        return Step(*(_of_one_chain(value) for value in found))


def _of_one_chain(value: Any) -> Any:
    return value if isinstance(value, tuple) else value[tf.newaxis]
