"""Defines what Normals over a network's weights share."""

import abc
from typing import Any

from tfpbnn import random
from tfpbnn.base import checks
from tfpbnn.base.types import Tensor
from tfpbnn.networks.copying import compile_like
from tfpbnn.posteriors.batch_norm import check_statistics, complete_sets
from tfpbnn.posteriors.network_posterior import NetworkPosterior
from tfpbnn.posteriors.weight_samples import WeightSamples

# Random layers in the network have keys of the same draw, from 0 on.
OWN_KEYS = 2**31 - 1


class NormalPosterior(NetworkPosterior):
    """A Normal over some weights of a network, whose weights are the mean."""

    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        if key is None:
            with random.draw_scope(None):
                return self.average(x)
        return super().draw(x, number, key)

    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        assert key is not None
        return self.sample(key)

    def average(self, inputs: Any, training: bool = False) -> Any:
        return self.network(inputs, training=False)

    @abc.abstractmethod
    def sample(self, key: Tensor) -> list[Tensor]:
        """Draws values of the random weights, in their dtypes.

        Args:
            key: the key of the draw, `[2]`.
        """

    def materialize(
        self,
        num_samples: int,
        x: Any = None,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> WeightSamples:
        """Makes a finite posterior of draws that are taken once and kept.

        With the same seed they are the draws of `tfpbnn.predict`.

        Args:
            num_samples: the number of draws.
            x: the inputs over which the statistics of BatchNorm layers are
                computed for each draw, best the training data; see
                `update_batch_norm`. Only networks with BatchNorm need it.
            batch_size: the number of rows in a batch, for arrays; None for
                1024.
            seed: an integer; None takes one, as in `tfpbnn.predict`.

        Raises:
            ValueError: if the network has BatchNorm and x is None.
        """
        checks.positive_integer("num_samples", num_samples)
        checks.positive_integer.optional("batch_size", batch_size)
        check_statistics(self.network, x)
        key = random.as_key(random.any_seed() if seed is None else seed)
        draws = (self.sample(random.fold(key, n)) for n in range(num_samples))
        sets = complete_sets(
            self.network, draws, self.random_weights, x, batch_size
        )
        samples = WeightSamples.from_weights(self.network, sets)
        compile_like(samples, self, "sgd")
        return samples
