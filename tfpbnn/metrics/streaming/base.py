"""Defines what scores that are computed batch by batch share."""

import abc
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.types import Config, Tensor
from tfpbnn.likelihoods import Bernoulli, Categorical, Likelihood, from_loss
from tfpbnn.likelihoods.places import places_of


class Batch(NamedTuple):
    """A batch, with harmless values at places that don't count.

    Attributes:
        y: the targets, aligned with the outputs: `[B, ..., k]`, labels
            `[B, ...]`, or probabilities of classes `[B, ..., K]`.
        outputs: the model's outputs, `[B, ..., P]`.
        weights: the weights of the places, `[B, ...]`; 0 where they don't
            count, and NaN if a target that counts is out of range, or an
            output NaN.
        likelihood: the likelihood of the outputs.
    """

    y: Tensor
    outputs: Tensor
    weights: Tensor
    likelihood: Likelihood


class Streaming(keras.metrics.Metric):
    """A score of a model's outputs that Keras computes batch by batch.

    Places that Keras's mask leaves out, that the likelihood ignores or that
    have a weight of 0 don't count, whatever values they have. Weights are used
    where Keras gives them: in `weighted_metrics`. An output that is NaN, or a
    target out of range, such as a label beyond the last, makes the score NaN.

    Args:
        likelihood: the `tfpbnn.likelihoods.Likelihood`, or Keras's loss, of the
            model; None for labels: of one of K classes, or yes-or-no labels
            for one output.
        from_logits: without a likelihood, whether outputs are logits; False for
            probabilities, as in Keras.
        name, dtype: as in any Keras metric.
    """

    def __init__(
        self,
        likelihood: Any = None,
        *,
        from_logits: bool = False,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if isinstance(likelihood, dict):
            likelihood = keras.saving.deserialize_keras_object(likelihood)
        if likelihood is not None:
            from_loss(likelihood)  # raises for what belongs to none
        self.likelihood, self.from_logits = likelihood, bool(from_logits)
        self._sums = [
            self.add_variable(shape, "zeros", name=f"sum_{i}")
            for i, shape in enumerate(self.shapes)
        ]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of what `sums` gives: two numbers, for a weighted mean."""
        return (), ()

    @abc.abstractmethod
    def sums(self, batch: Batch) -> tuple[Tensor, ...]:
        """Computes what is added up over batches, of the `shapes`."""

    def finish(self, *sums: Tensor) -> Tensor:
        """Computes the score of sums: the first over the last, a mean."""
        return tf.math.divide_no_nan(sums[0], sums[-1])

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: the targets, as the likelihood takes them.
            y_pred: the model's outputs, `[B, ..., P]`.
            sample_weight: the weights of rows `[B]` or of places `[B, ...]`.
        """
        batch = self._batch(y_true, y_pred, sample_weight)
        for total, found in zip(self._sums, self.sums(batch), strict=True):
            total.assign_add(tf.cast(found, total.dtype))

    def result(self) -> Tensor:
        """Computes the score of all batches; 0 if nothing counted."""
        return self.finish(*(tf.convert_to_tensor(s) for s in self._sums))

    def _batch(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Batch:
        mask = mask_of(y_pred)
        outputs = tf.cast(tf.convert_to_tensor(y_pred), self.dtype)
        y = tf.convert_to_tensor(y_true)
        likelihood = self._likelihood_of(outputs)
        name = type(likelihood).__name__
        places = places_of(outputs, mask, sample_weight, name)
        places = places.without(likelihood.ignored(y, outputs), outputs)
        y, outputs = places.filled(y, outputs)
        weights = tf.ones(tf.shape(outputs)[:-1], outputs.dtype)
        if places.weights is not None:
            weights *= places.weights
        elif places.row_weights is not None:
            ones = [1] * (len(outputs.shape) - 2)
            weights *= tf.reshape(places.row_weights, [-1, *ones])
        if places.counted is not None:
            weights *= tf.cast(places.counted, weights.dtype)
        y, is_valid = self._checked(likelihood, y, outputs)
        # Of NaN the greatest is a class.
        is_valid &= ~tf.reduce_any(tf.math.is_nan(outputs))
        nan = tf.constant(np.nan, weights.dtype)
        return Batch(y, outputs, tf.where(is_valid, weights, nan), likelihood)

    def _likelihood_of(self, outputs: Tensor) -> Likelihood:
        if self.likelihood is not None:
            return from_loss(self.likelihood, outputs.shape[-1])
        kind = Bernoulli if outputs.shape[-1] == 1 else Categorical
        return kind(from_logits=self.from_logits)

    def _checked(
        self, likelihood: Likelihood, y: Tensor, outputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Aligns targets, and says of the batch whether all are valid."""
        _, low, high = likelihood.support(outputs.shape[-1])
        numbers = tf.cast(y, outputs.dtype)
        valid = (numbers >= low) & (numbers <= high)
        valid &= tf.math.is_finite(numbers)
        if likelihood.is_integral(y, outputs):
            valid &= tf.floor(numbers) == numbers
        y = tf.where(valid, y, tf.zeros_like(y))
        return likelihood.align(y, outputs), tf.reduce_all(valid)

    def get_config(self) -> Config:
        likelihood = self.likelihood
        if likelihood is not None and not isinstance(likelihood, str):
            likelihood = keras.saving.serialize_keras_object(likelihood)
        return {
            **super().get_config(),
            "likelihood": likelihood,
            "from_logits": self.from_logits,
        }
