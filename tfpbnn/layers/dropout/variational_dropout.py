"""Defines Gaussian dropout whose rates are learned."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.layers.dropout.mc_noise import MCNoise
from tfpbnn.layers.kl import ClosedFormKL, add_weight
from tfpbnn.priors.log_uniform import kl_to_log_uniform


@registry.register("layers")
class VariationalDropout(MCNoise):
    """Applies Gaussian dropout to each feature, at rates that are learned.

    Inputs are multiplied with `Normal(1, sqrt(alpha))`, where `alpha = rate /
    (1 - rate)` is learned for each feature. The KL of the noise to the
    scale-invariant, log-uniform prior favours much noise. Like the KL of other
    layers it needs a weight, from `tfpbnn.callbacks.KLWeight` or
    `tfpbnn.Sequential`. Features whose rate goes to 1 carry nothing. Noise is
    drawn as by `MCDropout`: for each row in training, once for each draw in
    prediction. For single weights there is the prior
    `tfpbnn.priors.LogUniform`.

    Args:
        initial_rate: the initial rate, between 0 and 1.
        kl_weight: the factor of the KL in the loss, normally 1 /
            (number of training examples). None leaves it to
            `tfpbnn.callbacks.KLWeight` or `tfpbnn.Sequential`.
        seed: the seed of the noise. None takes one from Python's `random`.

    Call arguments:
        inputs: a tensor.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: if `initial_rate` is not between 0 and 1, or `kl_weight`
            is negative or not finite.

    Example:
    ```python
    model = tfpbnn.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(16, activation="relu"),
        tfpbnn.layers.VariationalDropout(),
        keras.layers.Dense(2),
    ])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(x, y, verbose=0)
    model.layers[1].rate                                    # [16]
    ```

    Reference:
        [Kingma et al., 2015](https://arxiv.org/abs/1506.02557), section 3, type
        A; [Molchanov et al., 2017](https://arxiv.org/abs/1701.05369), for the
        KL
    """

    def __init__(
        self,
        initial_rate: float = 0.1,
        *,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.initial_rate = checks.open_fraction("initial_rate", initial_rate)
        self.initial_kl_weight = kl_weight
        self.kl_weight = add_weight(self, kl_weight)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        start = math.log(self.initial_rate) - math.log1p(-self.initial_rate)
        self.log_alpha = self.add_weight(
            name="log_alpha",
            shape=input_shape[-1:],
            dtype="float32",
            initializer=keras.initializers.Constant(start),
            autocast=False,
        )
        ClosedFormKL(self.log_alpha, self.kl_weight, self._kl)

    @property
    def rate(self) -> Tensor:
        """The rate of dropout with as much noise, for each feature."""
        return tf.sigmoid(tf.convert_to_tensor(self.log_alpha))

    def _kl(self) -> Tensor:
        log_alpha = tf.convert_to_tensor(self.log_alpha)
        return tf.reduce_sum(kl_to_log_uniform(log_alpha))

    def noisy(self, inputs: Tensor, numbers: random.RandomNumbers) -> Tensor:
        scale = tf.exp(0.5 * tf.convert_to_tensor(self.log_alpha))
        noise = tf.cast(scale, inputs.dtype) * numbers.normal(inputs.dtype)
        return inputs * (1 + noise)

    def get_config(self) -> Config:
        return super().get_config() | {
            "initial_rate": self.initial_rate,
            "kl_weight": self.initial_kl_weight,
        }
