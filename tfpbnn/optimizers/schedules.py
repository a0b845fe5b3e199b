"""Defines learning-rate schedules of samplers."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor


@registry.register("optimizers")
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates that fall as a cosine in each cycle, to visit many modes.

    At the fraction t of a cycle the rate is `initial_learning_rate / 2 (1 +
    cos(pi t))`. The first part of a cycle explores: the samplers of this
    package make no noise there, so that they find a mode; after it they sample
    around that mode, and `tfpbnn.ensembles.CollectSamples` collects there only.

    Args:
        initial_learning_rate: the rate at the start of a cycle, positive; large
            enough to leave a mode.
        steps_per_cycle: the number of steps (batches) in a cycle.
        exploration: the fraction of a cycle that explores, from 0 to below 1.

    Raises:
        ValueError: if an argument is out of range.

    Example:
    ```python
    schedule = tfpbnn.optimizers.schedules.Cyclical(0.1, steps_per_cycle=50)
    optimizer = tfpbnn.optimizers.SGLD(schedule, num_examples=1000)
    float(schedule(0)), float(schedule(49)), float(schedule(50))
    ```

    Reference:
        [Zhang et al., 2020](https://arxiv.org/abs/1902.03932)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        steps_per_cycle: int,
        exploration: float = 0.8,
    ):
        self.initial_learning_rate = checks.positive_number(
            "initial_learning_rate", initial_learning_rate
        )
        self.steps_per_cycle = checks.positive_integer(
            "steps_per_cycle", steps_per_cycle
        )
        self.exploration = checks.rate("exploration", exploration)

    def __call__(self, step: Any) -> Tensor:
        place = tf.cast(self._place(step), tf.float32) / self.steps_per_cycle
        return self.initial_learning_rate / 2 * (1 + tf.cos(math.pi * place))

    def noise(self, step: Any) -> Tensor:
        """Computes the factor of a sampler's temperature: 0 or 1.

        Args:
            step: the number of the step, from 0.
        """
        first = math.ceil(self.exploration * self.steps_per_cycle - 1e-9)
        return tf.cast(self._place(step) >= first, tf.float32)

    def _place(self, step: Any) -> Tensor:
        """Computes the number of the step in its cycle."""
        return tf.cast(step, tf.int64) % self.steps_per_cycle

    def get_config(self) -> Config:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "steps_per_cycle": self.steps_per_cycle,
            "exploration": self.exploration,
        }
