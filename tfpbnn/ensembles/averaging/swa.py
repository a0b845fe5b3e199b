"""Defines stochastic weight averaging."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.ensembles.averaging.collector import Collector
from tfpbnn.networks.copying import compile_like
from tfpbnn.posteriors.batch_norm import check_statistics, update_batch_norm
from tfpbnn.posteriors.moments import Moments


class SWA(Collector):
    """Averages the weights of the last epochs of training.

    The result is one network, in a wider and often better minimum than the
    last weights of the training, if the learning rate is large enough for
    these to move. Weights are collected from `start_epoch` on, at the end of
    every `frequency` epochs or steps; only trainable weights are averaged.
    The training itself is not changed, but for the learning rate.

    `average` can be taken during training, after it, or after an interrupt.
    Another `fit` with the same callback goes on with the average.

    Args:
        start_epoch: the first epoch to collect from, counted from 0.
        frequency: the number of epochs or steps from one set of weights to
            the next.
        unit: the unit of `frequency`: "epoch" or "step" (one batch).
        learning_rate: the learning rate from `start_epoch` on: a number, or a
            function of the epoch. None leaves it to the optimizer.

    Raises:
        ValueError: if an argument is out of range; in `fit`, if the model
            can't be copied or the learning rate can't be set.

    Example:
    ```python
    swa = tfpbnn.ensembles.SWA(start_epoch=2, learning_rate=0.01)
    model.fit(x, y, epochs=6, callbacks=[swa], verbose=0)
    swa.average().predict(x, verbose=0)
    ```

    Reference:
        [Izmailov et al., 2018](https://arxiv.org/abs/1803.05407)
    """

    def __init__(
        self,
        start_epoch: int,
        frequency: int = 1,
        unit: str = "epoch",
        learning_rate: float | Callable[[int], float] | None = None,
    ):
        super().__init__(start_epoch, frequency, unit, learning_rate, Moments())

    def average(
        self, x: Any = None, batch_size: int | None = None
    ) -> keras.Model:
        """Makes a model like the one in training, at the mean of its weights.

        It is of the same class and compiled likewise, with a fresh optimizer.
        It is one network and no distribution, so `tfpbnn.predict` needs
        `draws="mean"` for it.

        Args:
            x: the inputs over which the statistics of BatchNorm layers are
                computed anew for the averaged weights, best the training
                data; see `update_batch_norm`. Only networks with BatchNorm
                need it.
            batch_size: the number of rows in a batch, for arrays; None for
                1024.

        Raises:
            ValueError: if no weights were collected, or if the model has
                BatchNorm and x is None.
        """
        self._check_collected(1)
        model = self._network()
        check_statistics(model, x)
        compile_like(model, self.model)
        if x is not None:
            update_batch_norm(model, x, batch_size)
        return model

    def resume(self, model: keras.Model, num_collected: int) -> None:
        """Goes on from the average of an earlier process.

        Args:
            model: the average, loaded from a file.
            num_collected: the number of sets of weights in the average.
        """
        self._moments.count = checks.positive_integer(
            "num_collected", num_collected
        )
        self._moments.means = [
            np.array(keras.ops.convert_to_numpy(v), "float64")
            for v in model.trainable_variables
        ]
