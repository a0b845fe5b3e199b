"""Defines the Normal over weights that the curvature of the posterior gives."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base import checks, data, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.networks import missing, reading
from tfpbnn.posteriors.laplace import evidence, predictive, prior
from tfpbnn.posteriors.laplace.blocks import Block
from tfpbnn.posteriors.laplace.held_blocks import Form, HeldBlock
from tfpbnn.posteriors.laplace.slopes import Traced, compiled, each_output
from tfpbnn.posteriors.network_posterior import NetworkPosterior

LINKS = ("linearized", "probit", "sampling")
# Random layers in the network have keys of the same draw, from 0 on.
_OWN_KEYS = 2**31 - 2


@registry.register("posteriors")
class LaplacePosterior(NetworkPosterior):
    """The Normal around trained weights that `tfpbnn.laplace` fits.

    Its mean is `network`, and its precision the curvature of the
    log-likelihood plus `prior_precision` on the diagonal. The curvature is kept
    by its eigenvalues, so that another prior costs nothing. A call of the
    model, as by Keras's `predict`, gives the network at the mean;
    `tfpbnn.predict` takes draws.

    Args:
        network: a built model, whose weights are the mean.
        indices: the indices of the random weights in `network.weights`.
        blocks: of each block of the curvature the random weights in it, the
            shape of its eigenvalues, for each axis that of its matrix of
            eigenvectors or None, and the number of single weights that it is
            over, or None for all.
        link: how draws make outputs: "linearized", "sampling" or "probit".
        by_row: the random weights of which slopes are taken row by row.

    Example:
    ```python
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal(scale=0.1))
    x, y = keras.random.normal((50, 4)), keras.random.normal((50,))
    model.fit(x, y, verbose=0)
    posterior = tfpbnn.laplace(model, x, y, subset="all")
    posterior.prior_precision, posterior.log_marginal_likelihood()
    posterior.prior_precision = 10.0
    tfpbnn.predict(posterior, x, num_samples=30)
    ```

    Reference:
        [MacKay, 1992](https://doi.org/10.1162/neco.1992.4.3.448)
        and [Daxberger et al., 2021](https://arxiv.org/abs/2106.14806)
    """

    def __init__(
        self,
        network: keras.Model,
        indices: Sequence[int],
        blocks: Sequence[Any],
        link: str = "linearized",
        by_row: Sequence[int] = (),
        **kwargs: Any,
    ):
        super().__init__(network, tuple(indices), **kwargs)
        self.link = checks.one_of("link", link, LINKS)
        if link == "probit":  # one distribution, and no draws of it
            self.num_draws = 1
        self.by_row = tuple(by_row)
        self._log_likelihood = self._scalar("log_likelihood")
        self._prior_precision = self._scalar("prior_precision", (len(indices),))
        self._held = [
            HeldBlock(Form(*form), self.random_weights, self.add_weight, str(n))
            for n, form in enumerate(blocks)
        ]
        self.built = True

    def _scalar(self, name: str, shape: Any = ()) -> keras.Variable:
        return self.add_weight(
            name=name, shape=shape, trainable=False, autocast=False,
            dtype="float64", initializer="ones",
        )  # fmt: skip

    def set_curvature(
        self, blocks: Sequence[Block], log_likelihood: float
    ) -> None:
        """Sets the curvature and the log-likelihood at the mean.

        Args:
            blocks: in the order and with the shapes of the constructor's.
            log_likelihood: of all data.
        """
        for held, block in zip(self._held, blocks, strict=True):
            held.assign(block)
        self._log_likelihood.assign(log_likelihood)

    @property
    def prior_precision(self) -> float | dict[str, float]:
        """The precision of the weights' Normal prior of mean 0; can be set.

        One number, or, where weights have different ones, a dict of them by
        the weights' paths. It can be set to a dict by names of layers, or
        patterns of paths, of which the first that matches a weight counts.
        """
        found = self._precision_of_each()
        if len(set(found)) == 1:
            return float(found[0])
        paths = [v.path for v in self.random_weights]
        return dict(zip(paths, map(float, found), strict=True))

    @prior_precision.setter
    def prior_precision(self, value: Any) -> None:
        self._set_precisions(prior.each(value, self.random_weights))

    def _precision_of_each(self) -> Array:
        return keras.ops.convert_to_numpy(self._prior_precision)

    def _set_precisions(self, precisions: Array) -> None:
        for held in self._held:
            held.reweigh(self._precision_of_each(), precisions)
        self._prior_precision.assign(precisions)

    def _weighed(self, precisions: Array) -> list[Block]:
        """The blocks as they are for a prior, in NumPy."""
        own = self._precision_of_each()
        return [held.weighed(own, precisions) for held in self._held]

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood of the data at the mean, in nats."""
        return float(keras.ops.convert_to_numpy(self._log_likelihood))

    @property
    def eigenvalues(self) -> Array:
        """The eigenvalues of the curvature, without the prior's."""
        blocks = self._weighed(np.ones(len(self.indices)))
        values = [np.ravel(block.eigenvalues) for block in blocks]
        return np.concatenate(values).astype("float64")

    def log_marginal_likelihood(self, prior_precision: Any = None) -> float:
        """Computes the log marginal likelihood of the data, in nats.

        It compares models: other networks on the same data, or other priors.

        Args:
            prior_precision: another than the posterior's own, as that can be
                set; None for that.

        Reference:
            [Immer et al., 2021](https://arxiv.org/abs/2104.04975)
        """
        precisions = self._precision_of_each()
        if prior_precision is not None:
            precisions = prior.each(prior_precision, self.random_weights)
        penalties = evidence.penalty(
            np.zeros(1), float(precisions @ self._squares), 1.0
        )
        for block in self._weighed(precisions):
            first = precisions[block.weights[0]]
            penalties += evidence.penalty(block.eigenvalues, 0.0, float(first))
        return self.log_likelihood - penalties

    def tune(self, by_layer: bool = False) -> float | dict[str, float]:
        """Sets the prior's precision to that of the largest evidence.

        Args:
            by_layer: whether each layer has its own.

        Returns:
            The `prior_precision`.
        """
        groups = prior.by_layer(self.random_weights)
        self._set_precisions(
            prior.tuned(
                self._weighed(np.ones(len(groups))),
                self._sizes,
                self._squares,
                groups if by_layer else 0 * groups,
            )
        )
        return self.prior_precision

    @property
    def _sizes(self) -> list[int]:
        return [math.prod(v.shape) for v in self.random_weights]

    @property
    def _squares(self) -> Array:
        """The sums of squares of each weight's elements that vary."""
        means = map(keras.ops.convert_to_numpy, self.random_weights)
        vectors: list[Array] = [
            np.ravel(mean).astype("float64") for mean in means
        ]
        which: Array = np.repeat(np.arange(len(vectors)), self._sizes)
        (block, *_) = self._weighed(self._precision_of_each())
        square = np.concatenate(vectors) ** 2
        return np.bincount(
            block.own(which), block.own(square), minlength=len(vectors)
        )

    def variances(self) -> list[Array]:
        """The variance of each random weight, in their shapes."""
        found = [
            block.variances(self._precisions(block), held.size)
            for held, block in zip(self._held, self._blocks(), strict=True)
        ]
        return self._shaped(tf.concat(found, 0))

    def output_moments(
        self, x: Any, batch_size: int = 256
    ) -> tuple[Array, Array]:
        """Computes the Normal of the linearized network's outputs.

        Of a network that ends in softmax, sigmoid, exp or softplus, it is that
        of what goes into this activation.

        Args:
            x: inputs, N rows in one array or a structure of arrays.
            batch_size: the number of rows that are done at once.

        Returns:
            The means `[N, M]` and the covariances `[N, M, M]` of the M outputs
            of each row, those of several outputs and steps one after another.

        Reference:
            [Immer et al., 2021](https://arxiv.org/abs/2008.08711)
        """
        names = reading.input_names(self.network)
        x = data.as_rows("x", x, names, is_finite=False)
        missing.check_inputs(self.network, x)
        function = compiled(self._moments, self.network, x)
        parts = [
            [np.asarray(part) for part in function(batch)]
            for batch, _ in data.batches(x, batch_size)
        ]
        means, covariances = zip(*parts, strict=True)
        return np.concatenate(means), np.concatenate(covariances)

    def _moments(self, x: Any) -> tuple[Tensor, Tensor]:
        traced, jacobians = self._jacobians(x)
        total = tf.add_n(
            [
                predictive.covariance(block, self._precisions(block), part)
                for block, part in self._by_block(jacobians)
            ]
        )
        means = [
            tf.reshape(tf.cast(y, total.dtype), [traced.rows, -1])
            for y in traced.outputs
        ]
        return tf.concat(means, -1), total

    def _jacobians(self, x: Any) -> tuple[Traced, list[Tensor]]:
        traced = Traced(
            self.network,
            self.random_weights,
            frozenset(self.by_row),
            x,
            before_ends=True,
        )
        which = range(len(traced.outputs))
        return traced, traced.jacobians(which, each_output(traced, which))

    def _by_block(self, parts: Sequence[Tensor]) -> list[tuple[Block, Tensor]]:
        """Joins what each weight has, `[..., D]`, to what each block has."""
        return [
            (block, tf.concat([parts[i] for i in block.weights], axis=-1))
            for block in self._blocks()
        ]

    def _blocks(self) -> list[Block]:
        precisions = self._prior_precision.value
        return [held.block(precisions) for held in self._held]

    def _precisions(self, block: Block) -> Tensor:
        """The precisions in the directions of the eigenvectors."""
        values = tf.convert_to_tensor(block.eigenvalues)
        own = self._prior_precision.value[block.weights[0]]
        return values + tf.cast(own, values.dtype)

    @property
    def draws_weights(self) -> bool:
        return self.link == "sampling"

    def average(self, inputs: Any, training: bool = False) -> Any:
        return self.network(inputs, training=False)

    def draw(self, x: Any, number: Tensor, key: Tensor | None) -> Any:
        if key is None:
            with random.draw_scope(None):
                return self.average(x)
        if self.draws_weights:
            return super().draw(x, number, key)
        if self.link == "linearized":
            return predictive.linearized(
                self.network, self.random_weights, self._noises(key), x
            )
        return self._probit(x)

    def _probit(self, x: Any) -> Any:
        traced, jacobians = self._jacobians(x)
        variances = tf.add_n(
            [
                predictive.variances(block, self._precisions(block), part)
                for block, part in self._by_block(jacobians)
            ]
        )
        (output,) = traced.outputs
        return predictive.probit(output, variances)

    def drawn(self, number: Tensor, key: Tensor | None) -> list[Tensor]:
        assert key is not None
        pairs = zip(self.random_weights, self._noises(key), strict=True)
        return [v.value + noise for v, noise in pairs]

    def _noises(self, key: Tensor) -> list[Tensor]:
        """Draws the random weights less their means."""
        own = random.fold(key, _OWN_KEYS)
        vectors = []
        for number, block in enumerate(self._blocks()):
            values = self._precisions(block)
            noise = random.normal(
                random.fold(own, number), values.shape, values.dtype
            )
            noise = random.signed(noise) / tf.sqrt(values)
            vectors.append(block.restored(noise, self._held[number].size))
        return self._shaped(tf.concat(vectors, axis=0))

    def _shaped(self, vector: Tensor) -> list[Tensor]:
        """Splits a vector of all blocks into the weights, in their dtypes."""
        parts = tf.split(vector, self._sizes)
        return [
            tf.cast(tf.reshape(part, v.shape), v.dtype)
            for part, v in zip(parts, self.random_weights, strict=True)
        ]

    def get_config(self) -> Config:
        return super().get_config() | {
            "blocks": [list(held.form) for held in self._held],
            "link": self.link,
            "by_row": list(self.by_row),
        }
