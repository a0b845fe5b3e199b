"""Defines stochastic-gradient Hamiltonian Monte Carlo."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Tensor
from tfpbnn.optimizers.sgmcmc import Step, StochasticGradientMCMC


@registry.register("optimizers")
class SGHMC(StochasticGradientMCMC):
    """Stochastic-gradient Hamiltonian Monte Carlo: SGD with momentum and noise.

    A step of the learning rate h is

        p <- m p - sqrt(h N) g + sqrt(2 (1 - m - b) T) e
        w <- w + sqrt(h / N) p

    where g is the gradient of the loss, a mean over rows, and of minus the
    log-prior over N, and m the momentum. With `v = sqrt(h / N) p` it is the
    paper's equation 15, and SGD with momentum of the rate h without the noise;
    written in p, whose samples have the variance T whatever h is, a schedule
    changes nothing of what is sampled. Where the energy is `a w^2 / 2`, the
    variance of the weights is `T / a / (1 - h a / (2 N (1 + m)))` if gradients
    are exact; their noise adds to it, and `b` takes it off.

    Args:
        learning_rate: h, a positive float or a schedule.
        num_examples: N, as in `SGLD`.
        momentum: m, from 0 to below 1; `1 - m` is the friction.
        noise_estimate: b, the part of the friction that the noise of the
            gradients makes up for, from 0 to `1 - momentum`: `h N s / (2 T)`
            for a gradient g of the variance s.
        **kwargs: `temperature` (T), `prior`, `seed` and Keras's arguments, as
            in `SGLD`.

    Raises:
        ValueError: as in `SGLD`; if `noise_estimate` is out of range.

    Example:
    ```python
    network = tfpbnn.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile(
        tfpbnn.optimizers.SGHMC(1e-3), loss=tfpbnn.likelihoods.Normal()
    )
    samples = tfpbnn.ensembles.CollectSamples(burn_in=2)
    network.fit(x, y, epochs=6, callbacks=[samples], verbose=0)
    ```

    Reference:
        [Chen et al., 2014](https://arxiv.org/abs/1402.4102)
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        num_examples: int | None = None,
        *,
        momentum: float = 0.9,
        noise_estimate: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, num_examples, **kwargs)
        self.momentum = checks.rate("momentum", momentum)
        self.noise_estimate = checks.number(
            "a number from 0 to 1 - momentum, the friction",
            lambda b: 0 <= b <= 1 - self.momentum,
        )("noise_estimate", noise_estimate)

    def states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        return [self.add_variable_from_reference(variable, "momentum")]

    def moved(
        self, weight: Tensor, states: list[Tensor], step: Step
    ) -> tuple[Tensor, list[Tensor]]:
        friction = 1 - self.momentum - self.noise_estimate
        momentum = (
            self.momentum * states[0]
            - tf.sqrt(step.rate * step.examples) * step.gradient
            + tf.sqrt(2 * friction * step.temperature) * step.noise
        )
        moved = weight + tf.sqrt(step.rate / step.examples) * momentum
        return moved, [momentum]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "momentum": self.momentum,
            "noise_estimate": self.noise_estimate,
        }
