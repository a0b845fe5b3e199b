"""Stochastic weight averaging."""

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

    One network at the price of one, with lower and wider minima than the last
    iterate, if the learning rate is large enough for the iterates to move.
    Collects from `start_epoch` on, at the end of every `frequency` epochs or
    steps; only trainable weights are averaged. The model trains as it would
    without.

    The average is of what was collected so far: in training, after it, or
    after an interrupt. Another `fit` with the same callback goes on with it.

    Args:
        start_epoch: the first epoch (the first of all is 0) that counts.
        frequency: of how many epochs or steps each the weights are taken.
        unit: "epoch" or "step" (one batch).
        learning_rate: from `start_epoch` on: a number, or a function of the
            epoch; None leaves it alone.

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
        """A new model like the one in training, at the mean of its weights.

        Of its class and compiled as it is, with a fresh optimizer. It is one
        network, no distribution: `tfpbnn.predict` takes it with draws="mean".

        Args:
            x: inputs, best those of training, over which the statistics of
                BatchNorm layers are computed, since those of training are of
                other weights; as in `update_batch_norm`. Other networks don't
                need it.
            batch_size: rows at a time, of arrays; default 1024.

        Raises:
            ValueError: if nothing was collected; if the model has BatchNorm
                and x is None.
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
            model: the average, as loaded from a file.
            num_collected: of how many sets of weights it is the mean.
        """
        self._moments.count = checks.positive_integer(
            "num_collected", num_collected
        )
        self._moments.means = [
            np.array(keras.ops.convert_to_numpy(v), "float64")
            for v in model.trainable_variables
        ]
