"""What kernels share."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor

# The depth of paths until widths are learned. Up to then steps are as small as
# the narrowest direction wants, and long paths are not worth what they cost.
_EARLY_DEPTH = 6
# An error of the energy above this, in nats, is a divergence.
_DIVERGENT = 1000.0


class Target(NamedTuple):
    """What kernels see of a density, as functions of positions `[C, D]`.

    Attributes:
        log_prob: the log-densities, `[C]`.
        view: what the positions mean, `[C, F]`: predictions, of networks.
    """

    log_prob: Callable[[Tensor], Tensor]
    view: Callable[[Tensor], Tensor]


class Stage(NamedTuple):
    """Where in warm-up a step is; each a boolean scalar.

    Attributes:
        adapts: whether the kernel may learn from this step. If not, what it
            does afterwards must not depend on it but through the position.
        is_early: whether no widths were learned yet, for which a long path is
            not worth what it costs.
    """

    adapts: Tensor
    is_early: Tensor


class Step(NamedTuple):
    """One step of each of C chains.

    Attributes:
        position: the new positions, `[C, D]`.
        log_prob: the log-densities there, `[C]`.
        acceptance: the probabilities of acceptance, `[C]`, to adapt to.
        energy: the energies, `[C]`.
        is_divergent: whether the integration of the path failed, `[C]`.
        num_gradients: how many gradients the chains took, `[C]`.
        memory: what the kernel is to be given with the next step.
        slope: the gradients of the log-density at the new positions, `[C, D]`,
            of kernels whose widths are learned from them.
    """

    position: Tensor
    log_prob: Tensor
    acceptance: Tensor
    energy: Tensor
    is_divergent: Tensor
    num_gradients: Tensor
    memory: Any = ()
    slope: Any = ()


class Kernel(abc.ABC):
    """A Markov kernel that leaves a density of positions as it is.

    Args:
        max_tree_depth: gradients of one step are at most 2 to this power.
        target_accept: what the acceptance is to be in the mean.

    Attributes:
        is_pooled: whether chains learn from each other in warm-up, for which
            one program moves them all.
        learns_from_slopes: whether widths are those in units of which positions
            vary as much as gradients do, and not standard deviations, which
            paths of given lengths need.
    """

    is_pooled: ClassVar[bool] = False
    learns_from_slopes: ClassVar[bool] = False

    def __init__(self, max_tree_depth: int, target_accept: float):
        self.max_tree_depth = max_tree_depth
        self.target_accept = target_accept

    @property
    def early_depth(self) -> int:
        """`max_tree_depth` until widths are learned."""
        return min(_EARLY_DEPTH, self.max_tree_depth)

    def memory(
        self,
        position: Array,
        view: Callable[[Array], Array],
        generator: np.random.Generator,
    ) -> Any:
        """What the kernel remembers from step to step, at first.

        Args:
            position: where the chains are, `[C, D]`.
            view: gives what positions mean, `[C, F]`.
            generator: for what is random in it.

        Returns:
            a structure of arrays.
        """
        return ()

    def carried(self, memory: Any) -> Any:
        """The memory, when positions are whitened by other widths from now on.

        Args:
            memory: as the last step left it.
        """
        return memory

    @abc.abstractmethod
    def step(
        self,
        target: Target,
        position: Tensor,
        step_size: Tensor,
        seed: Tensor,
        memory: Any,
        stage: Stage,
    ) -> Step:
        """Moves the chains.

        Args:
            target: the density.
            position: `[C, D]`.
            step_size: of each chain, `[C]`.
            seed: of this step, `[2]`.
            memory: as the last step left it.
            stage: where in warm-up this step is.
        """


def acceptance(log_ratio: Tensor) -> Tensor:
    """Probabilities of acceptance; 0 where the ratio is not a number."""
    valid = tf.math.is_finite(log_ratio)
    ratio = tf.exp(tf.minimum(log_ratio, tf.zeros_like(log_ratio)))
    return tf.where(valid, ratio, tf.zeros_like(ratio))


def is_divergent(log_ratio: Tensor) -> Tensor:
    """Whether the energy at the end of a path is far off."""
    return tf.logical_not(log_ratio > -_DIVERGENT)


def value_and_slope(
    log_prob: Callable[[Tensor], Tensor], position: Tensor
) -> tuple[Tensor, Tensor]:
    """The log-densities `[C]` of positions `[C, D]`, and their gradients."""
    with tf.GradientTape() as tape:
        tape.watch(position)
        value = log_prob(position)
    return value, tape.gradient(value, position)


def chosen(condition: Tensor, yes: Any, no: Any) -> Any:
    """One of two structures of tensors."""
    return keras.tree.map_structure(
        lambda a, b: tf.where(condition, a, b), yes, no
    )
