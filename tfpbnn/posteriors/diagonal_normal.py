"""Defines a Normal with a diagonal covariance over a network's weights."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import registry
from tfpbnn.base.types import Tensor
from tfpbnn.posteriors.normal import OWN_KEYS, NormalPosterior


@registry.register("posteriors")
class DiagonalNormalPosterior(NormalPosterior):
    """A Normal with a diagonal covariance over weights of a network.

    `optimizers.IVON.posterior` makes it. A call of the model, as by Keras's
    `predict` and `evaluate`, gives the network at the mean; `tfpbnn.predict`
    takes draws. Layers of BatchNorm keep the statistics that training left;
    `materialize` gives each draw its own.

    Args:
        network: a built model, whose weights are the mean.
        indices: the indices of the random weights in `network.weights`.

    Attributes:
        stddevs: the standard deviations, a variable for each random weight, of
            its shape.

    Example:
    ```python
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    posterior = tfpbnn.optimizers.DiagonalNormalPosterior(network, [0, 1])
    for stddev in posterior.stddevs:
        stddev.assign(keras.ops.full(stddev.shape, 0.1))
    draws = posterior.materialize(5, seed=0)
    ```
    """

    has_statistics = True

    def __init__(
        self, network: keras.Model, indices: Sequence[int], **kwargs: Any
    ):
        super().__init__(network, tuple(indices), **kwargs)
        self.stddevs = [
            self._add_parameter(v.shape, v, f"stddev_{i}")
            for i, v in enumerate(self.random_weights)
        ]
        self.built = True

    def sample(self, key: Tensor) -> list[Tensor]:
        own = random.fold(key, OWN_KEYS)
        values = []
        for number, (v, stddev) in enumerate(
            zip(self.random_weights, self.stddevs, strict=True)
        ):
            dtype = stddev.dtype
            noise = random.normal(random.fold(own, number), v.shape, dtype)
            noise = random.signed(noise) * stddev.value
            values.append(tf.cast(tf.cast(v.value, dtype) + noise, v.dtype))
        return values
