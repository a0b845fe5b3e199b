"""Defines stochastic-gradient Langevin dynamics."""

import tensorflow as tf

from tfpbnn.base import registry
from tfpbnn.base.types import Tensor
from tfpbnn.optimizers.sgmcmc import Step, StochasticGradientMCMC


@registry.register("optimizers")
class SGLD(StochasticGradientMCMC):
    """Stochastic-gradient Langevin dynamics: SGD with the noise of a posterior.

    A step of the learning rate h is

        w <- w - h g + sqrt(2 h T / N) e

    where g is the gradient of the loss, a mean over rows, and of minus the
    log-prior over N, T the temperature and e a standard normal. So learning
    rates are those of SGD. In the limit of small ones the iterates are samples
    of the posterior of N rows; where the energy is `a w^2 / 2` their variance
    is `(T / a + h s / (2 N a)) / (1 - h a / (2 N))`, where s is the variance of
    the noise in the energy's gradient, N g.

    Args:
        learning_rate: h, a positive float or a schedule, such as
            `tfpbnn.optimizers.schedules.Cyclical`.
        num_examples: N, the number of training rows. None lets `fit` of
            `tfpbnn.Model` and `tfpbnn.Sequential` count them; elsewhere it must
            be given, and the loss must be a mean over rows.
        temperature: T: 1 for the posterior, less for a colder one, 0 for no
            noise.
        prior: the prior of each weight: a name or an object of `tfpbnn.priors`
            with fixed scales, or a number, the precision of a Normal about 0.
            None for a flat one, as where the loss has the penalties of layers.
        seed: an integer, for the same noise each time; None follows
            `keras.utils.set_random_seed`. The seed in use is saved with the
            optimizer's state, so a loaded model goes on with its chain.
        **kwargs: `name`, `loss_scale_factor` and `gradient_accumulation_steps`
            of Keras's optimizers.

    Raises:
        ValueError: if an argument is out of range; if gradients are to be
            clipped, or weights decayed or averaged; when built, for weights of
            16 bits or with constraints; in a step, if the number of rows is
            unknown.

    Example:
    ```python
    network = tfpbnn.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile(
        tfpbnn.optimizers.SGLD(1e-3), loss=tfpbnn.likelihoods.Normal()
    )
    samples = tfpbnn.ensembles.CollectSamples(burn_in=2)
    network.fit(x, y, epochs=6, callbacks=[samples], verbose=0)
    tfpbnn.predict(samples.posterior(), x)
    ```

    Reference:
        [Welling and Teh, 2011](https://www.stats.ox.ac.uk/~teh/research/compstats/WelTeh2011a.pdf)
    """

    def moved(
        self, weight: Tensor, states: list[Tensor], step: Step
    ) -> tuple[Tensor, list[Tensor]]:
        scale = tf.sqrt(2 * step.rate * step.temperature / step.examples)
        return weight - step.rate * step.gradient + scale * step.noise, states
