"""Defines preconditioned stochastic-gradient Langevin dynamics."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Tensor
from tfpbnn.optimizers.sgmcmc import Step, StochasticGradientMCMC


@registry.register("optimizers")
class PSGLD(StochasticGradientMCMC):
    """SGLD with RMSprop's scales, for weights whose gradients differ in size.

    A step of the learning rate h is

        v <- rho v + (1 - rho) g^2,     G = 1 / (sqrt(v) + epsilon)
        w <- w - h G g + sqrt(2 h G T / N) e

    where g is the gradient of the loss, a mean over rows, and of minus the
    log-prior over N. The term of the derivative of G is left out, as in the
    paper's own experiments: what is sampled is the posterior as far as G is
    the same over it, so that `rho` near 1 makes the smaller bias. The first
    steps are `1 / sqrt(1 - rho)` times as long as later ones, since v starts
    at 0.

    Args:
        learning_rate: h, a positive float or a schedule.
        num_examples: N, as in `SGLD`.
        rho: the decay of the mean of squared gradients, from 0 to below 1.
        epsilon: a positive number added to its root.
        **kwargs: `temperature` (T), `prior`, `seed` and Keras's arguments, as
            in `SGLD`.

    Raises:
        ValueError: as in `SGLD`.

    Example:
    ```python
    network = tfpbnn.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile(
        tfpbnn.optimizers.PSGLD(1e-3), loss=tfpbnn.likelihoods.Normal()
    )
    samples = tfpbnn.ensembles.CollectSamples(burn_in=2)
    network.fit(x, y, epochs=6, callbacks=[samples], verbose=0)
    ```

    Reference:
        [Li et al., 2016](https://arxiv.org/abs/1512.07666)
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        num_examples: int | None = None,
        *,
        rho: float = 0.99,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, num_examples, **kwargs)
        self.rho = checks.rate("rho", rho)
        self.epsilon = checks.positive_number("epsilon", epsilon)

    def states_of(self, variable: keras.Variable) -> list[keras.Variable]:
        return [self.add_variable_from_reference(variable, "square")]

    def moved(
        self, weight: Tensor, states: list[Tensor], step: Step
    ) -> tuple[Tensor, list[Tensor]]:
        square = self.rho * states[0] + (1 - self.rho) * step.gradient**2
        rate = step.rate / (tf.sqrt(square) + self.epsilon)
        scale = tf.sqrt(2 * rate * step.temperature / step.examples)
        moved = weight - rate * step.gradient + scale * step.noise
        return moved, [square]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "rho": self.rho,
            "epsilon": self.epsilon,
        }
