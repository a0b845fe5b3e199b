"""A posterior that Markov chains have drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.base.xla import run_as_graph
from tfpbnn.densities.parameters import Parameters, with_prior
from tfpbnn.diagnostics import convergence
from tfpbnn.networks.copying import clone, compile_like
from tfpbnn.posteriors.inference_data import (
    by_chain,
    inference_data,
    likelihood_groups,
    predictive_samples,
    sample_stats,
)
from tfpbnn.posteriors.weight_samples import StackedWeights
from tfpbnn.prediction.predict import Outputs, predict, predict_outputs
from tfpbnn.priors import Hyperprior, Prior

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
        priors: the prior of each of these, or the hyperprior of a noise's
            scale. They are copied, with the values of their variables.
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
        priors: Sequence[Prior | Hyperprior],
        num_chains: int,
        num_samples: int,
        scales: Mapping[str, Sequence[int]] | None = None,
        **kwargs: Any,
    ):
        self.num_chains = checks.positive_integer("num_chains", num_chains)
        self.num_samples = checks.positive_integer("num_samples", num_samples)
        super().__init__(network, num_chains * num_samples, indices, **kwargs)
        self.priors = [
            _own_copy(prior, variable)
            for prior, variable in zip(priors, self.random_weights, strict=True)
        ]
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
            dtype=self.random_weights[0].dtype,
        )

    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        number = tf.cast(number, tf.int32) % self.num_members
        return super().drawn(tf.constant(self._order)[number], key)

    @property
    def draws(self) -> dict[str, Array]:
        """All draws of the weights, `[C, S, ...]`, by path."""
        return {
            path: self._by_chain(stack)
            for path, stack in zip(
                self._parameters.paths, self._stacks, strict=True
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

        def means(predictive: Any) -> Array | None:
            if predictive is None:  # an output without a loss
                return None
            return by_chain(predictive.draw_means, self._order, self._shape)

        return keras.tree.map_structure(means, found)

    def prior(
        self, num_samples: int = 500, seed: int | None = None
    ) -> "ChainPosterior":
        """What was believed before the data: draws of the priors.

        Args:
            num_samples: how many draws.
            seed: an integer for the same draws each time.

        Returns:
            one chain of independent draws, with the same network and loss, so
            that `tfpbnn.predict` of it is the prior predictive.
        """
        checks.positive_integer("num_samples", num_samples)
        seed = random.any_seed() if seed is None else seed
        generator = np.random.default_rng(seed)
        parameters = self._parameters
        vectors = parameters.samples(generator, num_samples)
        weights, scales = parameters.values(vectors)
        config = self.get_config() | {
            "network": clone(self.network, compiled=False),
            "priors": self.priors,
            "num_chains": 1,
            "num_samples": num_samples,
        }
        prior = ChainPosterior(**config)
        densities = run_as_graph(
            lambda v: tf.vectorized_map(parameters.log_prior, v),
            tf.constant(vectors),
        )
        nothing = np.zeros([len(STATISTICS), num_samples])
        statistics = dict(zip(STATISTICS, nothing, strict=True))
        statistics |= {"log_prob": densities, "acceptance": 1 + nothing[0]}
        prior.set_draws(weights, scales, statistics)
        compile_like(prior, self, "sgd")
        return prior

    def to_arviz(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        num_prior_samples: int = 500,
        seed: int | None = None,
    ) -> Any:
        """The chains as an `arviz.InferenceData`, for ArviZ's functions.

        Groups: `posterior` and `prior`, the weights by path, with dots in place
        of slashes, and the drawn scales; `sample_stats` by ArviZ's names. (The
        depth of a tree is that of NUTS for as many steps.) With x also
        `posterior_predictive` and `prior_predictive`, samples of the targets,
        named `y`, or by the outputs if there are several; with y also
        `log_likelihood` and `observed_data`. So `arviz.loo` and `arviz.waic`
        work, of several outputs with their `var_name`.

        The log-likelihood is that of a row: the sum over those of its steps or
        pixels that count, times their weights. What is left out by LOO is a row
        as a whole.

        Args:
            x: inputs, N rows: of the data that the chains were given, for LOO
                and WAIC.
            y: their targets; of several outputs a list, or a dict by name. A
                dataset x may bring them.
            sample_weight: those of `tfpbnn.mcmc.sample`, if there were any.
            num_prior_samples: how many draws of the prior.
            seed: of the prior, and of the noise of targets.

        Raises:
            ImportError: without ArviZ.
            ValueError: if there is y but no x, or if they don't fit.

        Example:
        ```python
        import arviz as az

        posterior = tfpbnn.mcmc.sample(
            model, x, y, num_warmup=50, num_samples=50
        )
        az.loo(posterior.to_arviz(x, y))
        ```
        """
        if x is None and y is not None:
            raise ValueError(
                "`x` must be the inputs of the targets y. Received: x=None"
            )
        prior = self.prior(num_prior_samples, seed)
        # By the names of these weights: those of a copy may be others.
        drawn = zip(self.draws, prior.draws.values(), strict=True)
        before = dict(drawn) | prior.scales
        groups = {
            "posterior": self.draws | self.scales,
            "sample_stats": sample_stats(self.statistics),
            "prior": before,
        }
        if x is not None:
            found = predict_outputs(self, x, self.num_members)
            y = found.y if y is None else y
            weights = found.sample_weight
            weights = weights if sample_weight is None else sample_weight
            groups |= self._predictive("posterior", found, seed)
            believed = predict_outputs(prior, x, num_prior_samples)
            groups |= prior._predictive("prior", believed, seed)
            if y is not None:
                groups |= likelihood_groups(
                    found, self._order, self._shape, y, weights
                )
        return inference_data(groups)

    def _predictive(
        self, name: str, outputs: Outputs, seed: int | None
    ) -> dict[str, dict[str, Array]]:
        samples = predictive_samples(outputs, self._order, self._shape, seed)
        return {f"{name}_predictive": samples}

    @property
    def _shape(self) -> tuple[int, int]:
        return self.num_chains, self.num_samples

    @property
    def _parameters(self) -> Parameters:
        pairs = zip(self.random_weights, self.priors, strict=True)
        return Parameters([with_prior(*pair) for pair in pairs])

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
        return values.reshape((*self._shape, *values.shape[1:]))

    def get_config(self) -> Config:
        return super().get_config() | {
            "priors": [
                keras.saving.serialize_keras_object(p) for p in self.priors
            ],
            "num_chains": self.num_chains,
            "num_samples": self.num_samples,
            "scales": {k: list(v) for k, v in self.scale_shapes.items()},
        }

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: Any = None
    ) -> "ChainPosterior":
        priors = [
            keras.saving.deserialize_keras_object(
                prior, custom_objects=custom_objects
            )
            for prior in config["priors"]
        ]
        return super().from_config(config | {"priors": priors}, custom_objects)


def _own_copy(prior: Any, variable: keras.Variable) -> Any:
    """A prior that shares nothing with the given one, built for a weight."""
    if isinstance(prior, Hyperprior):
        return prior
    copy = prior.copy(name=prior.name, dtype=prior.dtype_policy)
    copy.build(tuple(variable.shape))
    if hasattr(prior, "weight_shape"):
        copy.set_weights(prior.get_weights())
    copy.trainable = False
    return copy


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
    return {
        f"{name}/{i}": value
        for i, value in enumerate(structure)
        if value is not None
    }


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
