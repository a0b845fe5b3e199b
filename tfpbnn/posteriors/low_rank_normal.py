"""Defines a Normal of low rank plus diagonal over a network's weights."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.posteriors.batch_norm import batch_norms
from tfpbnn.posteriors.normal import OWN_KEYS, NormalPosterior


@registry.register("ensembles")
class SWAGPosterior(NormalPosterior):
    """The posterior that `SWAG` collects: a Normal over a network's weights.

    Its mean is `network`, its covariance `scale / 2 (diag(variances) + D D^T /
    (K - 1))`, where the K columns of D are the last deviations of the weights
    from their running mean. A call of the model, as by Keras's `predict` and
    `evaluate`, gives the network at the mean; `tfpbnn.predict` takes draws.

    A network with BatchNorm needs statistics for its mean and for each draw,
    which are computed from data; without them calls raise. `update_batch_norm`
    computes those of the mean, and `materialize` makes a posterior whose draws
    have their own.

    Args:
        network: a built model, whose weights are the mean.
        indices: the indices of the random weights in `network.weights`.
        num_columns: the number K of deviations, 2 or more.
        num_collected: the number of sets of weights that were collected.
        has_statistics: whether statistics of BatchNorm are those of the mean.

    Raises:
        ValueError: if `num_columns` is less than 2.

    Example:
    ```python
    swag = tfpbnn.ensembles.SWAG(start_epoch=1)
    model.fit(x, y, epochs=6, callbacks=[swag], verbose=0)
    posterior = swag.posterior
    posterior.scale = 0.5
    tfpbnn.predict(posterior, x, num_samples=30)
    ```

    Reference:
        [Maddox et al., 2019](https://arxiv.org/abs/1902.02476)
    """

    def __init__(
        self,
        network: keras.Model,
        indices: Sequence[int],
        num_columns: int,
        num_collected: int,
        has_statistics: bool = False,
        **kwargs: Any,
    ):
        super().__init__(network, tuple(indices), **kwargs)
        self.num_columns = checks.integer("num_columns", num_columns, least=2)
        self.num_collected = num_collected
        self.has_statistics = has_statistics
        self._scale = self.add_weight(
            name="scale", shape=(), trainable=False, autocast=False,
            dtype="float32", initializer="ones",
        )  # fmt: skip
        variables = list(enumerate(self.random_weights))
        self.variances = [
            self._add_parameter(v.shape, v, f"variance_{i}")
            for i, v in variables
        ]
        self.deviations = [
            self._add_parameter((num_columns, *v.shape), v, f"deviations_{i}")
            for i, v in variables
        ]
        self.built = True

    @property
    def scale(self) -> float:
        """The factor of the covariance, which can be set."""
        return float(keras.ops.convert_to_numpy(self._scale))

    @scale.setter
    def scale(self, value: float) -> None:
        self._scale.assign(checks.non_negative("scale", value))

    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        if batch_norms(self.network):
            raise ValueError(
                f"`{self.name}` is of a network with BatchNorm, whose draws "
                "need statistics of their own. Predict with "
                "`posterior.materialize(num_samples, x_train)`."
            )
        return super().drawn(number, key)

    def average(self, inputs: Any, training: bool = False) -> Any:
        if batch_norms(self.network) and not self.has_statistics:
            raise ValueError(
                f"`{self.name}` is of a network with BatchNorm, whose "
                "statistics are those of other weights than the mean. Call "
                "tfpbnn.ensembles.update_batch_norm(posterior, x_train) first."
            )
        return super().average(inputs, training)

    def sample(self, key: Tensor) -> list[Tensor]:
        own = random.fold(key, OWN_KEYS)
        columns = random.normal(random.fold(own, 0), [self.num_columns])
        columns /= math.sqrt(2 * (self.num_columns - 1))
        values = []
        for number, (v, variance, deviations) in enumerate(
            zip(
                self.random_weights,
                self.variances,
                self.deviations,
                strict=True,
            )
        ):
            dtype = variance.dtype
            noise = random.normal(random.fold(own, number + 1), v.shape, dtype)
            noise *= tf.sqrt(variance.value / 2)
            noise += tf.tensordot(tf.cast(columns, dtype), deviations.value, 1)
            noise = random.signed(noise)
            noise *= tf.cast(tf.sqrt(self._scale.value), dtype)
            values.append(tf.cast(tf.cast(v.value, dtype) + noise, v.dtype))
        return values

    def get_config(self) -> Config:
        return super().get_config() | {
            "num_columns": self.num_columns,
            "num_collected": self.num_collected,
            "has_statistics": self.has_statistics,
        }
