"""Scores of predictions: NumPy arrays in, numbers out.

All raise a `ValueError` at NaN or infinite targets.
"""

import numpy as np

from tfpbnn._tfp import tfp
from tfpbnn.data import check_finite
from tfpbnn.types import Array


def rmse(y: Array, mean: Array) -> float:
    """Root mean squared error, in the units of y.

    Args:
        y: targets, any shape.
        mean: predictions of the same shape.
    """
    check_finite("y", y)
    return float(np.sqrt(np.mean(np.square(y - mean))))


def coverage(y: Array, lower: Array, upper: Array) -> float:
    """The share of targets inside of their intervals, ends included.

    Args:
        y: targets, any shape.
        lower: lower ends, of the same shape.
        upper: upper ends, of the same shape.
    """
    check_finite("y", y)
    return float(np.mean((y >= lower) & (y <= upper)))


def calibration_curve(pit: Array, levels: Array) -> Array:
    """How often a target fell below its predicted quantile, for each level.

    Args:
        pit: predictive distribution functions at the targets, any shape.
        levels: nominal levels between 0 and 1, `[L]`.

    Reference:
        [Kuleshov et al., 2018](https://arxiv.org/abs/1807.00263)
    """
    check_finite("pit", pit)
    return np.mean(np.ravel(pit)[:, None] <= levels, axis=0)


def calibration_error(pit: Array) -> float:
    """Mean distance of the calibration curve from the diagonal, in [0, 0.5].

    Over the levels 0.05, 0.10, ..., 0.95. About 0.25 at worst for predictions
    that are right in the middle.

    Args:
        pit: predictive distribution functions at the targets, any shape.
    """
    levels = np.linspace(0.05, 0.95, 19)
    return float(np.mean(np.abs(calibration_curve(pit, levels) - levels)))


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
