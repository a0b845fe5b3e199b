"""Defines predictions of class labels."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import metrics
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Categorical, Likelihood
from tfpbnn.prediction.results import recalibrated, softmax
from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.scores import Scores
from tfpbnn.prediction.results.targets import scored

# A probability that float64 can just tell from 0.
_LEAST = np.finfo(np.float64).tiny


class ClassificationPredictive(Predictive):
    """A prediction of labels: one of K classes, or k yes-or-no labels.

    With the likelihood `Bernoulli` each output is a separate label: arrays that
    are `[N]` below are then `[N, k]`, and the K classes are no and yes.

    Example:
    ```python
    p = tfpbnn.predict(model, x_test)
    p.probabilities                                 # [N, K]
    p.mutual_information                            # [N], epistemic
    p.evaluate(y_test)                  # {"nll": .., "accuracy": .., ...}
    ```
    """

    @property
    def _is_categorical(self) -> bool:
        return isinstance(self.likelihood, Categorical)

    def _averages_of(self, outputs: Tensor) -> tuple[Tensor, ...]:
        return averages(self.likelihood, outputs)

    def _means_of(self, outputs: Tensor) -> Tensor:
        p = class_probabilities(self.likelihood, outputs)
        return of_targets(self.likelihood, p)

    @property
    def _moments(self) -> tuple[Array, Array, Array]:
        p, epistemic = (
            of_targets(self.likelihood, part) for part in self.summaries[:2]
        )
        return p, epistemic, p * (1 - p) - epistemic

    @functools.cached_property
    def mean(self) -> Array:
        """The probabilities of classes `[N, K]`, or of yes `[N, k]`.

        They take one pass over the draws, in the precision of these; the other
        averages, which are differences, take several passes in float64.
        """
        if not self.has_draws:
            return self._moments[0]

        def chunk(outputs: Tensor) -> Tensor:
            return tf.reduce_mean(self._means_of(outputs), axis=0)

        if self.likelihood.of_mixture is not None:
            return self._moments[0]
        if softmax.is_moderate(self.likelihood, self.outputs):
            return softmax.mean(self.outputs)
        dtype = np.result_type(self.outputs.dtype, np.float32)
        return self._by_rows(chunk, dtype=dtype).astype(np.float64)

    @property
    def probabilities(self) -> Array:
        """The probabilities, averaged over draws: `mean` by another name."""
        return self.mean

    @property
    def labels(self) -> Array:
        """The most probable class, `[N]`."""
        return np.argmax(self.summaries[0], axis=-1)

    @property
    def predictive_entropy(self) -> Array:
        """The entropy of the averaged probabilities, nats, `[N]`: total."""
        return entropy(tf.constant(self.summaries[0])).numpy()

    @property
    def expected_entropy(self) -> Array:
        """The average over draws of the entropy, nats, `[N]`: aleatoric."""
        return self.summaries[2]

    @property
    def mutual_information(self) -> Array:
        """The information of label and weights, nats, `[N]`: epistemic (BALD).

        It is the predictive minus the expected entropy, and high where the
        draws are sure of different labels.

        Reference:
            [Houlsby et al., 2011](https://arxiv.org/abs/1112.5745)
        """
        gap = self.predictive_entropy - self.expected_entropy
        return np.maximum(gap, 0.0)

    @property
    def variation_ratio(self) -> Array:
        """The share of draws whose label is not the most common one, `[N]`."""
        return 1.0 - np.max(self.summaries[3], axis=-1)

    def _hard_labels(self, y: Array) -> Array:
        """Turns targets that are aligned, which may be one-hot, into labels."""
        is_one_hot = self._is_categorical and y.ndim == self.mean.ndim
        return (np.argmax(y, axis=-1) if is_one_hot else y).astype(np.int64)

    def _mapped_samples(self, y: Array, seed: Any) -> Array:
        # There is no joint distribution of rows any more.
        return recalibrated.labels(
            self.mean, len(y), seed, self._is_categorical
        )

    def _log_prob(self, y: Array) -> Array:
        if self.likelihood.of_mixture is not None:
            return recalibrated.log_prob_of_labels(
                self.mean, y, self._is_categorical
            )
        if self.has_draws or not self._has_log_prob(y):
            return super()._log_prob(y)
        picked = np.take_along_axis(
            self.mean, self._hard_labels(y)[..., np.newaxis], axis=-1
        )
        return np.log(np.maximum(picked[..., 0], _LEAST))

    def _has_log_prob(self, y: Array) -> bool:
        """Says whether `log_prob` needs no draws, as for one label per row."""
        if not self._is_categorical:
            return False
        return y.ndim < self.mean.ndim or bool(np.all(np.max(y, -1) == 1))

    def accuracy(self, y: Any, sample_weight: Any = None) -> float:
        """Computes the share of rows whose most probable class is the label.

        Args:
            y: the labels, one row for each predicted row.
            sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        """
        return metrics.accuracy(y, self, sample_weight)

    def brier(self, y: Any, sample_weight: Any = None) -> float:
        """Computes the mean squared distance to the label, in [0, 2].

        Args:
            y: the labels, one row for each predicted row.
            sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        """
        return metrics.brier(y, self, sample_weight)

    def ece(
        self, y: Any, num_bins: int = 15, sample_weight: Any = None
    ) -> float:
        """Computes the expected calibration error of the top class.

        Args:
            y: the labels, one row for each predicted row.
            num_bins: the number of bins of equal width for the confidences.
            sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        """
        return metrics.ece(y, self, num_bins, sample_weight)

    def confidence(self, y: Any) -> tuple[Array, Array]:
        """Computes the top probability, and whether that class is right.

        Both are flattened; places that are masked or ignored are left out.

        Args:
            y: labels, one row for each predicted row.
        """
        p, y, _, _ = scored(self, y)
        right = p.labels == p._hard_labels(y)
        return np.ravel(np.max(p.summaries[0], axis=-1)), np.ravel(right)

    def evaluate(self, y: Any, sample_weight: Any = None) -> Scores:
        """Computes the scores nll, accuracy, brier and ece.

        If a row has several labels (`Bernoulli`), or probabilities for labels,
        the nll is joint for all of them, and left out if draws were not kept.
        The other scores are means over labels.

        Args:
            y: labels, one row for each predicted row.
            sample_weight: weights of rows `[N]` or of places `[N, ...]`.
        """
        p, y, weights, _ = scored(self, y, sample_weight)
        found = {
            "accuracy": p.accuracy(y, weights),
            "brier": p.brier(y, weights),
            "ece": p.ece(y, sample_weight=weights),
        }
        if p.has_draws or p._has_log_prob(y):
            found = {"nll": p.nll(y, weights), **found}
        each = self.place if self._is_categorical else "label"
        per = dict.fromkeys(found, each) | {"nll": self.place}
        return Scores(found, {name: per[name] for name in found})

    def _columns(self) -> dict[str, Array]:
        return {
            "label": self.labels,
            "probability": np.max(self.summaries[0], axis=-1),
            "predictive_entropy": self.predictive_entropy,
            "expected_entropy": self.expected_entropy,
            "mutual_information": self.mutual_information,
        }

    def _kind(self) -> str:
        return f"{type(self.likelihood).__name__} classification"


def class_probabilities(likelihood: Likelihood, outputs: Tensor) -> Tensor:
    """Computes class probabilities: `[.., K]`, or `[.., k, 2]` of Bernoulli."""
    if isinstance(likelihood, Categorical):
        return tf.exp(likelihood.log_probabilities(outputs))
    yes = likelihood.marginals(outputs).mean()
    return tf.stack([1 - yes, yes], axis=-1)


def of_targets(likelihood: Likelihood, p: Any) -> Any:
    """Takes the `class_probabilities` to report: all, or for Bernoulli, yes."""
    return p if isinstance(likelihood, Categorical) else p[..., 1]


def averages(likelihood: Likelihood, outputs: Tensor) -> tuple[Tensor, ...]:
    """Averages over draws: probabilities, variance, entropy and votes.

    Args:
        likelihood: the likelihood of the outputs.
        outputs: the outputs at each draw, `[S, n, .., P]`.
    """
    p = class_probabilities(likelihood, outputs)
    votes = tf.one_hot(tf.argmax(p, axis=-1), p.shape[-1], dtype=p.dtype)
    return mapped(
        likelihood,
        (
            tf.reduce_mean(p, axis=0),
            tf.math.reduce_variance(p, axis=0),
            tf.reduce_mean(entropy(p), axis=0),
            tf.reduce_mean(votes, axis=0),
        ),
    )


def mapped(likelihood: Likelihood, summaries: Any) -> tuple[Tensor, ...]:
    """Calibrates averages over all draws, if that is done to their mixture."""
    found = likelihood.of_mixture
    if found is None:
        return summaries
    is_one = isinstance(likelihood, Categorical)
    return recalibrated.shares(found, summaries, is_one, entropy)


def entropy(probabilities: Tensor) -> Tensor:
    """Computes the entropy over the last axis, in nats; 0 log 0 is 0."""
    # As `tf.math.xlogy`, which formats of exports don't have.
    p = probabilities
    logs = tf.math.log(tf.where(p > 0, p, tf.ones_like(p)))
    return -tf.reduce_sum(p * logs, axis=-1)
