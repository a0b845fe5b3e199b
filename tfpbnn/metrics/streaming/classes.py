"""Scores of labels that Keras computes batch by batch, and the NLL of all."""

import abc
from typing import Any

import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Config, Tensor
from tfpbnn.likelihoods import Categorical
from tfpbnn.metrics.streaming.base import Batch, Streaming


class _OfLabels(Streaming):
    """A score of labels and the probabilities of classes."""

    def sums(self, batch: Batch) -> tuple[Tensor, ...]:
        likelihood = batch.likelihood
        if not likelihood.is_classification:
            raise ValueError(
                f"`likelihood` must be one of labels for `{self.name}`. "
                f"Received: likelihood={self.likelihood!r}"
            )
        outputs, y, weights = batch.outputs, batch.y, batch.weights
        if isinstance(likelihood, Categorical):
            p = tf.exp(likelihood.log_probabilities(outputs))
            if len(y.shape) == len(p.shape):
                y = tf.argmax(y, axis=-1, output_type=tf.int32)
        else:
            yes = likelihood.marginals(outputs).mean()
            p = tf.stack([1 - yes, yes], axis=-1)
            # Each of a place's labels counts.
            weights = tf.broadcast_to(weights[..., tf.newaxis], tf.shape(yes))
        labels = tf.reshape(tf.cast(y, tf.int32), [-1])
        p = tf.reshape(p, [-1, p.shape[-1]])
        return self.of_labels(labels, p, tf.reshape(weights, [-1]))

    @abc.abstractmethod
    def of_labels(
        self, labels: Tensor, p: Tensor, weights: Tensor
    ) -> tuple[Tensor, ...]:
        """Computes `sums` of labels `[n]` and probabilities `[n, K]`."""


@registry.register("metrics")
class Accuracy(_OfLabels):
    """The share of places whose most probable class is the label.

    It is `tfpbnn.metrics.accuracy` batch by batch. Beside Keras's accuracies,
    it takes logits, masks, k yes-or-no labels and labels to ignore as the
    likelihood does.

    Args:
        likelihood, from_logits, name, dtype: as in `Streaming`.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.Categorical()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    metric = tfpbnn.metrics.streaming.Accuracy(likelihood)
    model.compile("adam", likelihood, metrics=[metric])
    ```
    """

    def __init__(
        self, likelihood: Any = None, *, name: str = "accuracy", **kwargs: Any
    ):
        super().__init__(likelihood, name=name, **kwargs)

    def of_labels(
        self, labels: Tensor, p: Tensor, weights: Tensor
    ) -> tuple[Tensor, ...]:
        top = tf.argmax(p, axis=-1, output_type=tf.int32)
        is_right = tf.cast(top == labels, p.dtype)
        return tf.reduce_sum(weights * is_right), tf.reduce_sum(weights)


@registry.register("metrics")
class Brier(_OfLabels):
    """The Brier score: the squared distance to the one-hot label.

    It is `tfpbnn.metrics.brier` batch by batch, in [0, 2].

    Args:
        likelihood, from_logits, name, dtype: as in `Streaming`.

    Example:
    ```python
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
    )
    metric = tfpbnn.metrics.streaming.Brier()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[metric])
    ```
    """

    def __init__(
        self, likelihood: Any = None, *, name: str = "brier", **kwargs: Any
    ):
        super().__init__(likelihood, name=name, **kwargs)

    def of_labels(
        self, labels: Tensor, p: Tensor, weights: Tensor
    ) -> tuple[Tensor, ...]:
        hot = tf.one_hot(labels, p.shape[-1], dtype=p.dtype)
        distances = tf.reduce_sum(tf.square(p - hot), axis=-1)
        return tf.reduce_sum(weights * distances), tf.reduce_sum(weights)


@registry.register("metrics")
class ECE(_OfLabels):
    """The expected calibration error of the most probable class.

    It is `tfpbnn.metrics.ece`, with bins of equal width, batch by batch: the
    state is the sums of each bin.

    Args:
        likelihood, from_logits, name, dtype: as in `Streaming`.
        num_bins: the number of bins.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.Categorical()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    metric = tfpbnn.metrics.streaming.ECE(likelihood, num_bins=10)
    model.compile("adam", likelihood, metrics=[metric])
    ```

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """

    def __init__(
        self,
        likelihood: Any = None,
        num_bins: int = 15,
        *,
        name: str = "ece",
        **kwargs: Any,
    ):
        self.num_bins = checks.positive_integer("num_bins", num_bins)
        super().__init__(likelihood, name=name, **kwargs)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.num_bins,), (self.num_bins,)

    def of_labels(
        self, labels: Tensor, p: Tensor, weights: Tensor
    ) -> tuple[Tensor, ...]:
        top = tf.argmax(p, axis=-1, output_type=tf.int32)
        confidence = tf.reduce_max(p, axis=-1)
        index = tf.cast(confidence * self.num_bins, tf.int32)
        index = tf.clip_by_value(index, 0, self.num_bins - 1)
        gap = tf.cast(top == labels, p.dtype) - confidence
        columns = tf.stack([weights * gap, weights], axis=-1)
        found = tf.math.unsorted_segment_sum(columns, index, self.num_bins)
        return found[:, 0], found[:, 1]

    def finish(self, *sums: Tensor) -> Tensor:
        gaps = tf.reduce_sum(tf.abs(sums[0]))
        return tf.math.divide_no_nan(gaps, tf.reduce_sum(sums[1]))

    def get_config(self) -> Config:
        return super().get_config() | {"num_bins": self.num_bins}


@registry.register("metrics")
class NLL(Streaming):
    """The negative log-likelihood of a place, jointly for its targets, in nats.

    It is `tfpbnn.metrics.nll` batch by batch. It differs from the loss where
    rows have steps or pixels, since the loss adds them up, and does not have
    the KL in it.

    Args:
        likelihood, from_logits, name, dtype: as in `Streaming`.

    Example:
    ```python
    likelihood = tfpbnn.likelihoods.Normal()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    metric = tfpbnn.metrics.streaming.NLL(likelihood)
    model.compile("adam", likelihood, metrics=[metric])
    ```
    """

    def __init__(
        self, likelihood: Any = None, *, name: str = "nll", **kwargs: Any
    ):
        super().__init__(likelihood, name=name, **kwargs)

    def sums(self, batch: Batch) -> tuple[Tensor, ...]:
        nll = -batch.likelihood.log_prob(batch.y, batch.outputs)
        return tf.reduce_sum(batch.weights * nll), tf.reduce_sum(batch.weights)
