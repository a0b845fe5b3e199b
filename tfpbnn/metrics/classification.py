"""Scores of class probabilities."""

import numpy as np

from tfpbnn.base.data import check_finite
from tfpbnn.base.tfp import tfp
from tfpbnn.base.types import Array


def accuracy(labels: Array, probabilities: Array) -> float:
    """The share of rows whose most probable class is the label.

    Args:
        labels: integers, `[...]`.
        probabilities: `[..., K]`.
    """
    check_finite("labels", labels)
    return float(np.mean(np.argmax(probabilities, axis=-1) == labels))


def brier(labels: Array, probabilities: Array) -> float:
    """The Brier score: mean squared distance to the one-hot label, in [0, 2].

    Args:
        labels: integers, `[...]`.
        probabilities: `[..., K]`.

    Reference:
        Brier, 1950, Verification of forecasts expressed in terms of probability
    """
    labels, logits = _flat(labels, probabilities)
    # TFP's score leaves out the constant 1.
    return 1.0 + float(np.mean(tfp.stats.brier_score(labels, logits)))


def ece(labels: Array, probabilities: Array, num_bins: int = 15) -> float:
    """Expected calibration error of the most probable class, in [0, 1].

    Args:
        labels: integers, `[...]`.
        probabilities: `[..., K]`.
        num_bins: how many bins of equal width the confidences are put into.

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    labels, logits = _flat(labels, probabilities)
    return float(
        tfp.stats.expected_calibration_error(
            num_bins, logits=logits, labels_true=labels
        )
    )


def _flat(labels: Array, probabilities: Array) -> tuple[Array, Array]:
    """Labels `[N]` and log-probabilities `[N, K]`, as tfp.stats takes them."""
    check_finite("labels", labels)
    flat = np.reshape(probabilities, [-1, probabilities.shape[-1]])
    logits = np.log(np.maximum(flat, 1e-30)).astype(np.float32)
    return np.reshape(labels, [-1]).astype(np.int32), logits
