"""Defines the stochastic-gradient Nose-Hoover thermostat."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Tensor
from tfpbnn.optimizers.sgmcmc import Step, StochasticGradientMCMC


@registry.register("optimizers")
class SGNHT(StochasticGradientMCMC):
    """A stochastic-gradient thermostat: SGHMC that learns its friction.

    The noise of gradients heats SGHMC. Here each weight tensor has a friction f
    that rises while its momenta are too hot and falls while they are too cold,
    so the noise need not be known. A step of the learning rate h is

        p <- (1 - f) p - sqrt(h N) g + sqrt(2 c T) e
        w <- w + sqrt(h / N) p
        f <- f + r (mean(p^2) / T - 2 / (2 - f))

    where g is the gradient of the loss, a mean over rows, and of minus the
    log-prior over N. It is the paper's algorithm in p (see `SGHMC`), with two
    differences. The mean of the squares is compared with `2 T / (2 - f)`, not
    with T, which is what they are after such a step if the weights have the
    variances of T; with T these would be `1 - f / 2` of them. And the
    thermostat has a mass `h T / (N r)`, not 1, so that its speed does not
    depend on N.
    Noise that has the same variance over a tensor is made up for exactly; f
    stays between -1 and 1.

    Args:
        learning_rate: h, a positive float or a schedule.
        num_examples: N, as in `SGLD`.
        diffusion: c, the friction that the noise of the sampler alone needs,
            between 0 and 1. The friction starts there.
        thermostat_rate: r, positive. The friction of a tensor of n weights
            fluctuates with the variance r / n.
        **kwargs: `temperature` (T), `prior`, `seed` and Keras's arguments, as
            in `SGLD`.

    Raises:
        ValueError: as in `SGLD`.

    Example:
    ```python
    network = tfpbnn.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile(
        tfpbnn.optimizers.SGNHT(1e-3), loss=tfpbnn.likelihoods.Normal()
    )
    samples = tfpbnn.ensembles.CollectSamples(burn_in=2)
    network.fit(x, y, epochs=6, callbacks=[samples], verbose=0)
    ```

    Reference:
        [Ding et al., 2014](https://papers.nips.cc/paper/2014/hash/21fe5b8ba755eeaece7a450849876228-Abstract.html)
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        num_examples: int | None = None,
        *,
        diffusion: float = 0.1,
        thermostat_rate: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, num_examples, **kwargs)
        self.diffusion = checks.open_fraction("diffusion", diffusion)
        self.thermostat_rate = checks.positive_number(
            "thermostat_rate", thermostat_rate
        )

    def states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        start = keras.initializers.Constant(self.diffusion)
        friction = self.add_variable((), start, variable.dtype, name="friction")
        return [
            self.add_variable_from_reference(variable, "momentum"),
            friction,
        ]

    def moved(
        self, weight: Tensor, states: list[Tensor], step: Step
    ) -> tuple[Tensor, list[Tensor]]:
        momentum, friction = states
        momentum = (
            (1 - friction) * momentum
            - tf.sqrt(step.rate * step.examples) * step.gradient
            + tf.sqrt(2 * self.diffusion * step.temperature) * step.noise
        )
        moved = weight + tf.sqrt(step.rate / step.examples) * momentum
        # Without noise there is no temperature to hold.
        is_hot = step.temperature > 0
        heat = tf.where(is_hot, step.temperature, 1)
        excess = tf.reduce_mean(momentum**2) / heat - 2 / (2 - friction)
        change = self.thermostat_rate * tf.where(is_hot, excess, 0)
        return moved, [momentum, tf.clip_by_value(friction + change, -1, 1)]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "diffusion": self.diffusion,
            "thermostat_rate": self.thermostat_rate,
        }
