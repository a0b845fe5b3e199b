"""Defines SWA-Gaussian (SWAG)."""

from collections.abc import Callable

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.ensembles.averaging.collector import Collector
from tfpbnn.networks.copying import compile_like
from tfpbnn.posteriors.low_rank_normal import SWAGPosterior
from tfpbnn.posteriors.moments import Moments


class SWAG(Collector):
    """Fits a Normal to the weights that the last epochs of training visit.

    Its mean is that of `SWA`. Its covariance is half of the variances of the
    weights (a diagonal) plus half of the covariance of the last `rank`
    deviations from the running mean. Weights are collected from `start_epoch`
    on, at the end of every `frequency` epochs or steps; only trainable
    weights are random. Choose a learning rate that is constant and high
    enough for the weights to move.

    `posterior` can be taken during training, after it, or after an interrupt.
    Another `fit` with the same callback goes on collecting. The memory needed
    is that of `rank + 4` sets of weights.

    Args:
        start_epoch: the first epoch to collect from, counted from 0.
        rank: the number of deviations that are kept, 2 or more.
        frequency: the number of epochs or steps from one set of weights to
            the next.
        unit: the unit of `frequency`: "epoch" or "step" (one batch).
        learning_rate: the learning rate from `start_epoch` on: a number, or a
            function of the epoch. None leaves it to the optimizer.
        scale: the factor of the covariance. It can be set on the posterior
            too, and is worth choosing by the score on validation data.

    Raises:
        ValueError: if an argument is out of range; in `fit`, if the model
            can't be copied or the learning rate can't be set.

    Example:
    ```python
    swag = tfpbnn.ensembles.SWAG(start_epoch=2, rank=10)
    model.fit(x, y, epochs=6, callbacks=[swag], verbose=0)
    p = tfpbnn.predict(swag.posterior, x, num_samples=30)
    ```

    Reference:
        [Maddox et al., 2019](https://arxiv.org/abs/1902.02476)
    """

    def __init__(
        self,
        start_epoch: int,
        rank: int = 20,
        frequency: int = 1,
        unit: str = "epoch",
        learning_rate: float | Callable[[int], float] | None = None,
        *,
        scale: float = 1.0,
    ):
        moments = Moments(checks.integer("rank", rank, least=2))
        super().__init__(start_epoch, frequency, unit, learning_rate, moments)
        self.rank = rank
        self.scale = checks.non_negative("scale", scale)

    @property
    def posterior(self) -> SWAGPosterior:
        """A new `SWAGPosterior` of the weights that were collected so far.

        It is compiled with the model's loss and metrics.

        Raises:
            ValueError: if fewer than two sets of weights were collected.
        """
        self._check_collected(2)
        moments, network = self._moments, self._network()
        posterior = SWAGPosterior(
            network,
            self._indices,
            num_columns=len(moments.columns),
            num_collected=moments.count,
        )
        posterior.scale = self.scale
        for number, square in enumerate(moments.squares):
            posterior.variances[number].assign(square / moments.count)
            posterior.deviations[number].assign(
                np.stack([column[number] for column in moments.columns])
            )
        compile_like(posterior, self.model, "sgd")
        return posterior

    def resume(self, posterior: SWAGPosterior) -> None:
        """Goes on from the weights that an earlier process has collected.

        Args:
            posterior: the posterior of that process, loaded from a file.
        """
        moments, count = Moments(self.rank), posterior.num_collected
        to_numpy = keras.ops.convert_to_numpy
        moments.count = count
        moments.means = [
            np.array(to_numpy(v), "float64") for v in posterior.random_weights
        ]
        moments.squares = [
            count * to_numpy(v).astype("float64") for v in posterior.variances
        ]
        stacks = [to_numpy(v) for v in posterior.deviations]
        moments.columns = [
            [stack[column] for stack in stacks]
            for column in range(posterior.num_columns)
        ][-self.rank :]
        self._moments = moments
