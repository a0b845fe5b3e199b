"""A posterior that Markov chains have drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.diagnostics import convergence
from tfpbnn.posteriors.weight_samples import StackedWeights
from tfpbnn.prediction import predict

STATISTICS = (
    "log_prob",
    "acceptance",
    "energy",
    "is_divergent",
    "num_gradients",
    "step_size",
)


@registry.register("posteriors")
class ChainPosterior(StackedWeights):
    """Draws of a network's weights by Markov chains: `tfpbnn.mcmc.sample`.

    It is a Keras model like any posterior: `tfpbnn.predict`, `tfpbnn.evaluate`,
    `tfpbnn.export` and `save` take it. Draws are taken from all chains in turn
    and from all over their length, so that a prediction of few draws is as good
    as so few can be. Calling it gives the mean of the outputs.

    Args:
        network: a built model, of which the weights at `indices` are random.
        indices: which of `network.weights` are.
        num_chains: the number of chains C.
        num_samples: the number of draws S of each chain.
        scales: shapes of the scales that were drawn beside the weights, by
            name.

    Attributes:
        num_members: `C * S`.

    Example:
    ```python
    posterior = tfpbnn.mcmc.sample(model, x, y, num_warmup=50, num_samples=50)
    p = tfpbnn.predict(posterior, x)
    posterior.summary(x)
    posterior.save("chains.keras")
    ```
    """

    def __init__(
        self,
        network: keras.Model,
        indices: Sequence[int],
        num_chains: int,
        num_samples: int,
        scales: Mapping[str, Sequence[int]] | None = None,
        **kwargs: Any,
    ):
        self.num_chains = checks.positive_integer("num_chains", num_chains)
        self.num_samples = checks.positive_integer("num_samples", num_samples)
        super().__init__(network, num_chains * num_samples, indices, **kwargs)
        self.scale_shapes = {k: tuple(v) for k, v in (scales or {}).items()}
        self._scale_stacks = {
            name: self._own(name, shape)
            for name, shape in self.scale_shapes.items()
        }
        self._statistics = {name: self._own(name, ()) for name in STATISTICS}
        self._order = _spread(self.num_chains, self.num_samples)

    def _own(self, name: str, shape: Sequence[int]) -> keras.Variable:
        return self.add_weight(
            name=name.replace("/", "_"),
            shape=(self.num_members, *shape),
            initializer="zeros",
            autocast=False,
            trainable=False,
            dtype="float32",
        )

    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        number = tf.cast(number, tf.int32) % self.num_members
        return super().drawn(tf.constant(self._order)[number], key)

    @property
    def draws(self) -> dict[str, Array]:
        """All draws of the weights, `[C, S, ...]`, by path."""
        return {
            variable.path: self._by_chain(stack)
            for variable, stack in zip(
                self.random_weights, self._stacks, strict=True
            )
        }

    @property
    def scales(self) -> dict[str, Array]:
        """Draws of the scales of priors and of the noise, by name."""
        return {k: self._by_chain(v) for k, v in self._scale_stacks.items()}

    @property
    def statistics(self) -> dict[str, Array]:
        """What the sampler says of each draw, `[C, S]` each, by name."""
        return {k: self._by_chain(v) for k, v in self._statistics.items()}

    def predictions(self, x: Any) -> Any:
        """The mean of the targets at inputs, by each draw.

        Args:
            x: inputs, N rows.

        Returns:
            `[C, S, N, ...]`; of several outputs a list or dict.
        """
        found = predict(self, x, num_samples=self.num_members, verbose=0)
        back = np.argsort(self._order)

        def by_chain(predictive: Any) -> Array:
            means = np.asarray(predictive.draw_means)[back]
            return means.reshape(
                (self.num_chains, self.num_samples, *means.shape[1:])
            )

        return keras.tree.map_structure(by_chain, found)

    def summary(self, x: Any = None) -> Any:
        """Whether the chains agree, and how many draws they are worth.

        A network computes the same function with its units in another order,
        or with other signs: its weights need not agree between chains that
        are as good as can be. What counts are predictions, so give inputs.

        Args:
            x: inputs to judge predictions at; None for weights alone.

        Returns:
            a pandas.DataFrame, a row for the predictions, each weight, and each
            drawn scale, with the worst (and the median) of its elements:
            `r_hat` (above 1.01: not converged), `ess_bulk` and `ess_tail`
            (draws that as many independent ones are worth), and `mcse`, the
            largest standard error of a mean, in the element's own units.

        Raises:
            ImportError: without ArviZ.
        """
        import pandas as pd

        rows: dict[str, Array] = {}
        if x is not None:
            rows |= _named("predictions", self.predictions(x))
        rows |= {"log_prob": self.statistics["log_prob"]}
        rows |= self.scales | self.draws
        return pd.DataFrame.from_dict(
            {name: _summary(draws) for name, draws in rows.items()},
            orient="index",
        )

    def set_draws(
        self,
        weights: Sequence[Array],
        scales: Mapping[str, Array],
        statistics: Mapping[str, Array],
    ) -> None:
        """Sets all draws, `[C, S, ...]` each."""
        pairs = [
            *zip(self._stacks, weights, strict=True),
            *((self._scale_stacks[k], v) for k, v in scales.items()),
            *((self._statistics[k], v) for k, v in statistics.items()),
        ]
        for variable, values in pairs:
            variable.assign(np.reshape(values, variable.shape))

    def _by_chain(self, stack: keras.Variable) -> Array:
        values = keras.ops.convert_to_numpy(stack)
        return values.reshape(
            (self.num_chains, self.num_samples, *values.shape[1:])
        )

    def get_config(self) -> Config:
        return super().get_config() | {
            "num_chains": self.num_chains,
            "num_samples": self.num_samples,
            "scales": {k: list(v) for k, v in self.scale_shapes.items()},
        }


def _spread(chains: int, samples: int) -> Array:
    """All draws in an order of which each beginning is spread over all.

    Chains take turns, and times are those of a van der Corput sequence.
    """
    bits = max(1, int(np.ceil(np.log2(samples))))
    times = np.arange(2**bits)
    reverse = np.zeros_like(times)
    for bit in range(bits):
        reverse |= ((times >> bit) & 1) << (bits - 1 - bit)
    order = reverse[reverse < samples]
    return (np.arange(chains) * samples + order[:, np.newaxis]).ravel()


def _named(name: str, structure: Any) -> dict[str, Array]:
    """The arrays of one output, or of several, by name."""
    if isinstance(structure, np.ndarray):
        return {name: structure}
    if isinstance(structure, Mapping):
        return {f"{name}/{key}": value for key, value in structure.items()}
    return {f"{name}/{i}": value for i, value in enumerate(structure)}


def _summary(draws: Array) -> dict[str, float]:
    r_hat = convergence.r_hat(draws)
    bulk = convergence.ess(draws)
    tail = convergence.ess(draws, "tail")
    return {
        "size": r_hat.size,
        "r_hat": np.nanmax(r_hat, initial=1.0),
        "r_hat_median": np.nanmedian(r_hat),
        "ess_bulk": np.nanmin(bulk),
        "ess_bulk_median": np.nanmedian(bulk),
        "ess_tail": np.nanmin(tail),
        "mcse": np.nanmax(convergence.mcse(draws), initial=0.0),
    }
