"""Scores of numbers that Keras computes batch by batch."""

import abc
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.metrics.streaming.base import Batch, Streaming


class _OfNumbers(Streaming):
    """A mean over targets that are numbers, in their units."""

    def __init__(self, likelihood: Any, *, name: str, **kwargs: Any):
        super().__init__(likelihood, name=name, **kwargs)
        if likelihood is None:
            raise ValueError(
                f"`likelihood` must be that of the model for `{name}`, such as "
                "tfpbnn.likelihoods.Normal(). Received: likelihood=None"
            )

    def sums(self, batch: Batch) -> tuple[Tensor, ...]:
        if batch.likelihood.is_classification:
            raise ValueError(
                f"`likelihood` must be one of numbers for `{self.name}`. "
                f"Received: likelihood={self.likelihood!r}"
            )
        values = self.of_numbers(batch)
        weights = batch.weights[..., tf.newaxis] + tf.zeros_like(values)
        return tf.reduce_sum(weights * values), tf.reduce_sum(weights)

    @abc.abstractmethod
    def of_numbers(self, batch: Batch) -> Tensor:
        """Computes what is averaged, `[B, ..., k]`."""


class _OfIntervals(_OfNumbers):
    """A mean over the central intervals of targets."""

    def __init__(
        self, likelihood: Any, nominal: float = 0.9, *, name: str, **kwargs: Any
    ):
        self.nominal = checks.open_fraction("nominal", nominal)
        super().__init__(likelihood, name=name, **kwargs)

    def get_config(self) -> Config:
        return super().get_config() | {"nominal": self.nominal}


@registry.register("metrics")
class RMSE(_OfNumbers):
    """The root mean squared error of the likelihood's mean.

    It is in the units of the targets, also if the likelihood is adapted to
    them, where Keras's own would read standardized outputs.

    Args:
        likelihood: the likelihood of the model, or Keras's loss.
        name, dtype: as in any Keras metric.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.Normal().adapt([[36.0], [18.0], [52.0]])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    metric = tfpbnn.metrics.streaming.RMSE(likelihood)
    model.compile("adam", likelihood, metrics=[metric])
    ```
    """

    def __init__(self, likelihood: Any, *, name: str = "rmse", **kwargs: Any):
        super().__init__(likelihood, name=name, **kwargs)

    def of_numbers(self, batch: Batch) -> Tensor:
        mean = batch.likelihood.marginals(batch.outputs).mean()
        return tf.square(batch.y - mean)

    def finish(self, *sums: Tensor) -> Tensor:
        return tf.sqrt(super().finish(*sums))


@registry.register("metrics")
class Coverage(_OfIntervals):
    """The share of targets in the central interval of their likelihood.

    It is `tfpbnn.metrics.coverage` batch by batch, of one draw's outputs: what
    the noise alone covers, without the spread of draws.

    Args:
        likelihood: the likelihood of the model, or Keras's loss.
        nominal: the probability of the interval, between 0 and 1.
        name, dtype: as in any Keras metric.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.Poisson()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    metric = tfpbnn.metrics.streaming.Coverage(likelihood, 0.5)
    model.compile("adam", likelihood, metrics=[metric])
    ```
    """

    def __init__(
        self,
        likelihood: Any,
        nominal: float = 0.9,
        *,
        name: str = "coverage",
        **kwargs: Any,
    ):
        super().__init__(likelihood, nominal, name=name, **kwargs)

    def of_numbers(self, batch: Batch) -> Tensor:
        marginals = batch.likelihood.marginals(batch.outputs)
        up_to = marginals.cdf(batch.y)
        tail = (1 - self.nominal) / 2
        if not batch.likelihood.is_discrete:
            is_inside = (up_to >= tail) & (up_to <= 1 - tail)
            return tf.cast(is_inside, batch.outputs.dtype)
        # A count is in the interval if its step is not all in one tail.
        below = marginals.cdf(tf.maximum(batch.y - 1, 0))
        below = tf.where(batch.y > 0, below, tf.zeros_like(below))
        is_inside = (up_to >= tail) & (below < 1 - tail)
        return tf.cast(is_inside, batch.outputs.dtype)


@registry.register("metrics")
class IntervalScore(_OfIntervals):
    """Winkler's score of the central interval of the likelihood.

    It is `tfpbnn.metrics.interval_score` batch by batch, of one draw's outputs,
    for likelihoods of which TFP knows the quantiles: Normal, Laplace, StudentT.

    Args:
        likelihood: the likelihood of the model, or Keras's loss.
        nominal: the probability of the interval, between 0 and 1.
        name, dtype: as in any Keras metric.

    Raises:
        ValueError: when a batch is added, if the quantiles are not known.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.Laplace()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    metric = tfpbnn.metrics.streaming.IntervalScore(likelihood)
    model.compile("adam", likelihood, metrics=[metric])
    ```
    """

    def __init__(
        self,
        likelihood: Any,
        nominal: float = 0.9,
        *,
        name: str = "interval_score",
        **kwargs: Any,
    ):
        super().__init__(likelihood, nominal, name=name, **kwargs)

    def of_numbers(self, batch: Batch) -> Tensor:
        tail = (1 - self.nominal) / 2
        marginals, y = batch.likelihood.marginals(batch.outputs), batch.y
        try:
            lower, upper = (
                marginals.quantile(tail),
                marginals.quantile(1 - tail),
            )
        except NotImplementedError as error:
            raise ValueError(
                "`likelihood` must be one of which TFP knows the quantiles: "
                f"Normal, Laplace or StudentT. Received: {batch.likelihood!r}. "
                "For others there is `tfpbnn.metrics.interval_score` of a "
                "prediction"
            ) from error
        outside = tf.nn.relu(lower - y) + tf.nn.relu(y - upper)
        return upper - lower + 1 / tail * outside


@registry.register("metrics")
class CRPS(_OfNumbers):
    """The CRPS of the likelihood, in the units of the targets.

    It is `tfpbnn.metrics.crps` batch by batch, of one draw's outputs, for
    likelihoods that have a closed form: see `Likelihood.crps`.

    Args:
        likelihood: the likelihood of the model, or Keras's loss.
        name, dtype: as in any Keras metric.

    Raises:
        ValueError: when a batch is added, if there is no closed form.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.MixtureNormal(3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(9)])
    metric = tfpbnn.metrics.streaming.CRPS(likelihood)
    model.compile("adam", likelihood, metrics=[metric])
    ```

    Reference:
        [Jordan et al., 2019](https://doi.org/10.18637/jss.v090.i12)
    """

    def __init__(self, likelihood: Any, *, name: str = "crps", **kwargs: Any):
        super().__init__(likelihood, name=name, **kwargs)

    def of_numbers(self, batch: Batch) -> Tensor:
        return batch.likelihood.crps(batch.y, batch.outputs)
