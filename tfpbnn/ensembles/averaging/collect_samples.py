"""Defines the callback that collects what a sampler visits."""

import warnings
from typing import Any

import keras
import numpy as np

from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.ensembles.averaging.collector import Collector
from tfpbnn.optimizers.sgmcmc import StochasticGradientMCMC
from tfpbnn.posteriors.batch_norm import check_statistics, complete_sets
from tfpbnn.posteriors.moments import Moments
from tfpbnn.posteriors.weight_samples import WeightSamples
from tfpbnn.training.counting import count
from tfpbnn.training.fitting import WeightedFit
from tfpbnn.training.optimizer_step import inner


class _Kept(Moments):
    """Sets of weights that are kept beside their mean, thinned when many.

    Attributes:
        sets: what is kept.
        every: of how many that were added one is kept.
    """

    def __init__(self, most: int | None):
        super().__init__()
        self.sets: list[list[Array]] = []
        self.every = 1
        self._most = most

    def add(self, values: list[Array]) -> None:
        super().add(values)
        if self.count % self.every:
            return
        if self._most is not None and len(self.sets) == self._most:
            # Every second one of what there was, so they stay evenly spread.
            self.sets = self.sets[1::2]
            self.every *= 2
            if self.count % self.every:
                return
        self.sets.append([np.array(value) for value in values])


class CollectSamples(Collector):
    """Collects the samples of `SGLD`, `PSGLD`, `SGHMC` or `SGNHT` in `fit`.

    The weights at the end of every `every` epochs or steps after the burn-in
    are samples, but for those of the exploration of a cyclical schedule. Only
    trainable weights are random. The posterior can be taken during training,
    after it, or after an interrupt, and another `fit` goes on collecting.

    Args:
        burn_in: the number of epochs before the first sample.
        every: the number of epochs or steps from one sample to the next.
        max_samples: the most samples that are kept, 2 or more; None keeps all.
            When there are more, every second one is dropped and from then on
            half as many are taken, so that what is kept is spread evenly over
            the whole chain.
        unit: the unit of `every`: "epoch" or "step" (one batch).

    Raises:
        ValueError: if an argument is out of range; in `fit`, if the optimizer
            is no sampler, the number of rows is unknown, the model can't be
            copied or weights are not finite when they are collected.

    Example:
    ```python
    network = tfpbnn.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile(
        tfpbnn.optimizers.SGHMC(1e-3), loss=tfpbnn.likelihoods.Normal()
    )
    samples = tfpbnn.ensembles.CollectSamples(burn_in=2, every=1)
    network.fit(x, y, epochs=6, callbacks=[samples], verbose=0)
    posterior = samples.posterior()
    tfpbnn.predict(posterior, x)
    ```
    """

    def __init__(
        self,
        burn_in: int,
        every: int = 1,
        max_samples: int | None = None,
        unit: str = "epoch",
    ):
        checks.integer("burn_in", burn_in, least=0)
        checks.positive_integer("every", every)
        if max_samples is not None:
            checks.integer("max_samples", max_samples, least=2)
        self._kept = _Kept(max_samples)
        super().__init__(burn_in, every, unit, None, self._kept)
        self.max_samples = max_samples

    @property
    def num_samples(self) -> int:
        """The number of samples that are kept so far."""
        return len(self._kept.sets)

    def on_train_begin(self, logs: Any = None) -> None:
        """Raises before the training what would otherwise fail after it."""
        super().on_train_begin(logs)
        optimizer = inner(self.model.optimizer)
        if not isinstance(optimizer, StochasticGradientMCMC):
            raise ValueError(
                "`optimizer` must be a sampler of tfpbnn.optimizers, such as "
                "SGHMC, for its iterates to be samples. Received: "
                f"{type(optimizer).__name__}. For IVON there is "
                "`optimizer.posterior(model)`, for other optimizers "
                "tfpbnn.ensembles.SWAG"
            )
        if not isinstance(self.model, WeightedFit):  # whose `fit` does it
            steps = (self.params or {}).get("steps")
            count(self.model, {"steps_per_epoch": steps})

    def on_train_end(self, logs: Any = None) -> None:
        """Warns if nothing was collected."""
        if not self.num_samples:
            warnings.warn(self._what_to_do(), stacklevel=2)

    def posterior(
        self, x: Any = None, batch_size: int | None = None
    ) -> WeightSamples:
        """Makes a new posterior of the samples so far, equally weighted.

        It is compiled with the model's loss and metrics.

        Args:
            x: the inputs over which the statistics of BatchNorm layers are
                computed for each sample, best the training data; see
                `update_batch_norm`. Only networks with BatchNorm need it.
            batch_size: the number of rows in a batch, for arrays; None for
                1024.

        Raises:
            ValueError: if there are no samples yet, or the network has
                BatchNorm and x is None.
        """
        if not self.num_samples:
            raise ValueError(self._what_to_do())
        check_statistics(self.model, x)
        network = self._network()
        variables = [network.weights[index] for index in self._indices]
        sets = complete_sets(network, self._kept.sets, variables, x, batch_size)
        return WeightSamples.from_weights(self.model, sets)

    def _is_wanted(self) -> bool:
        sampler: StochasticGradientMCMC = inner(self.model.optimizer)
        to_numpy = keras.ops.convert_to_numpy
        for variable in self.model.trainable_variables:
            if not keras.ops.all(keras.ops.isfinite(variable)):
                raise ValueError(
                    "`learning_rate` must be small enough for the chain to "
                    f"stay finite. Received: {variable.path} with NaN or "
                    f"infinity in epoch {self._epoch}, at the learning rate "
                    f"{to_numpy(sampler.learning_rate):.3g}. Take a smaller one"
                )
        return sampler.is_sampling()

    def _what_to_do(self) -> str:
        return (
            "`burn_in` must leave epochs to collect samples from. Received: "
            f"burn_in={self.start_epoch}, every={self.frequency} {self.unit}s, "
            f"and {self._epoch + 1} epochs, which left no sample. Lower them, "
            "or train longer, also by another `fit` with `initial_epoch`; with "
            "a cyclical schedule, train to the end of a cycle"
        )
