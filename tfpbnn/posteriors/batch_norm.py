"""Computes statistics of BatchNorm layers for weights not met in training."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data, forms
from tfpbnn.base.keras_private import held_layers
from tfpbnn.base.types import Array, Tensor
from tfpbnn.networks import missing
from tfpbnn.networks.reading import open_spec
from tfpbnn.particles import Posterior
from tfpbnn.posteriors.network_posterior import NetworkPosterior

_BATCH_SIZE = 1024
Values = Sequence[tuple[keras.Variable, Tensor]]


def update_batch_norm(
    model: keras.Model, x: Any, batch_size: int | None = None
) -> None:
    """Recomputes the statistics of BatchNorm layers over data.

    Averaged weights give other activations than those of training, so the
    moving averages of training are wrong for them. Each layer gets the mean
    and the variance of its inputs, in training mode, over all rows. Frozen
    layers keep their statistics, and other weights stay.

    Args:
        model: a built model, or a `SWAGPosterior`, whose mean gets the
            statistics. For its draws see `SWAGPosterior.materialize`.
        x: the inputs, best those of training: an array, a tensor, a list or
            dict of these, or a tf.data.Dataset or PyDataset, whose targets
            are ignored.
        batch_size: the number of rows in a batch, for arrays; None for 1024.
            Layers normalize by each batch's statistics, as in training.

    Raises:
        ValueError: if x is empty, endless or has NaN; if the posterior has
            members, which have their own statistics.

    Example:
    ```python
    swag = tfpbnn.ensembles.SWAG(start_epoch=2)
    model.fit(x, y, epochs=4, callbacks=[swag], verbose=0)
    posterior = swag.posterior
    tfpbnn.ensembles.update_batch_norm(posterior, x)
    posterior.predict(x, verbose=0)
    ```

    Reference:
        [Izmailov et al., 2018](https://arxiv.org/abs/1803.05407), section 3.2
    """
    if isinstance(model, Posterior) and not model.has_mean:
        raise ValueError(
            "`model` must be one network or a posterior with a mean. Received: "
            f"a {type(model).__name__}, whose members have statistics of their "
            "own. Update those of a network before it becomes a member."
        )
    network = model.network if isinstance(model, NetworkPosterior) else model
    for variable, value in BatchStatistics(network).over(x, batch_size):
        variable.assign(value)
    if isinstance(model, NetworkPosterior):
        model.has_statistics = True


def check_statistics(network: keras.Model, x: Any) -> None:
    """Raises if BatchNorm needs data and there is none."""
    if x is None and batch_norms(network):
        raise ValueError(
            "`x` must be given, since the network has BatchNorm layers, whose "
            "statistics are other ones for other weights: pass the inputs of "
            "the training data. Received: x=None"
        )


def batch_norms(network: keras.Model) -> list[Any]:
    """Lists the layers whose statistics training moves."""
    return [
        layer
        for layer in held_layers(network)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and layer.momentum < 1
    ]


def complete_sets(
    network: keras.Model,
    draws: Iterable[Sequence[Tensor]],
    variables: Sequence[keras.Variable],
    x: Any = None,
    batch_size: int | None = None,
) -> list[list[Array]]:
    """Makes sets of all weights of draws of some, with statistics of their own.

    Args:
        network: a built network.
        draws: for each set, the values of `variables`.
        variables: weights of the network.
        x: the inputs over which the statistics of BatchNorm layers are
            computed, as in `update_batch_norm`; None without such layers.
        batch_size: as in `update_batch_norm`.

    Returns:
        lists like those of `network.get_weights()`.
    """
    statistics = BatchStatistics(network)
    place = {id(v): i for i, v in enumerate(network.weights)}
    sets = []
    for values in draws:
        drawn = list(zip(variables, values, strict=True))
        weights = network.get_weights()
        if x is not None:
            drawn += list(statistics.over(x, batch_size, drawn))
        for variable, value in drawn:
            weights[place[id(variable)]] = np.asarray(value)
        sets.append(weights)
    return sets


class BatchStatistics:
    """Computes the statistics of a network's BatchNorm layers over data."""

    def __init__(self, network: Any):
        self._network = network
        self._layers = batch_norms(network)
        moved = {
            id(v)
            for layer in self._layers
            for v in (layer.moving_mean, layer.moving_variance)
        }
        # States of dropout and the like go on from batch to batch.
        self._states = [
            v for v in network.non_trainable_variables if id(v) not in moved
        ]
        self._compiled: Callable[..., Any] | None = None

    def over(
        self, x: Any, batch_size: int | None = None, drawn: Values = ()
    ) -> Iterator[tuple[keras.Variable, Array]]:
        """Computes the values of all layers' moving statistics.

        Yields (variable, value) for each.

        Args:
            x: as in `update_batch_norm`.
            batch_size: as in `update_batch_norm`.
            drawn: pairs of weights of the network and other values for them.
        """
        if not self._layers:
            return
        batch_size = batch_size or _BATCH_SIZE
        if not data.is_stream(x):
            x = data.as_rows("x", x, is_finite=False)
        data.num_batches(x, batch_size)  # raises if there is no end
        states = [v.value for v in self._states]
        rows = 0
        sums: list[Any] = []
        for batch, _, _ in data.weighted_batches(x, batch_size):
            missing.check_inputs(self._network, batch)
            found, states = self._function(batch, drawn)(
                forms.present(batch), [value for _, value in drawn], states
            )
            size = data.length(batch)
            moments = [
                (mean := _wide(pair[0]), _wide(pair[1]) + mean**2)
                for pair in found
            ]
            sums.append([[size * m for m in pair] for pair in moments])
            rows += size
        if not rows:
            raise ValueError("`x` must have one row or more. Received: none")
        for number, layer in enumerate(self._layers):
            mean, square = (
                np.sum([batch[number][i] for batch in sums], axis=0) / rows
                for i in (0, 1)
            )
            yield layer.moving_mean, mean
            yield layer.moving_variance, np.maximum(square - mean**2, 0)

    def _function(self, x: Any, drawn: Values) -> Callable[..., Any]:
        if self._compiled is None:
            spec = open_spec(self._network, x)
            self._compiled = tf.function(
                lambda x, values, states: self._one(
                    forms.restored(x, spec), drawn, values, states
                ),
                input_signature=[
                    forms.present(spec),
                    [tf.TensorSpec(v.shape, v.dtype) for v, _ in drawn],
                    [tf.TensorSpec(v.shape, v.dtype) for v in self._states],
                ],
                autograph=False,
            )
        return self._compiled

    def _one(
        self, x: Any, drawn: Values, values: list[Tensor], states: list[Tensor]
    ) -> tuple[list[Any], list[Tensor]]:
        """Computes each layer's (mean, variance) of a batch, and new states."""
        pairs = [
            *zip((v for v, _ in drawn), values, strict=True),
            *zip(self._states, states, strict=True),
        ]
        # From 0, what a layer moves to is its momentum's part of the batch's.
        for layer in self._layers:
            for v in (layer.moving_mean, layer.moving_variance):
                pairs.append((v, tf.zeros(v.shape, v.dtype)))
        with keras.StatelessScope(state_mapping=pairs) as scope:
            self._network(x, training=True)
        found = [
            [
                tf.cast(scope.get_current_value(v), tf.float32)
                / (1 - layer.momentum)
                for v in (layer.moving_mean, layer.moving_variance)
            ]
            for layer in self._layers
        ]
        return found, [scope.get_current_value(v) for v in self._states]


def _wide(tensor: Tensor) -> Array:
    return tensor.numpy().astype("float64")
