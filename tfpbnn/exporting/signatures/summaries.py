"""Draws of a model's outputs become a server's answers here."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.exporting.graphs.draws import batch_first
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction.results import classification, mixture

Summary = Callable[[Likelihood, Tensor, Sequence[float]], dict[str, Tensor]]


def summarize(
    likelihood: Likelihood, outputs: Tensor, levels: Sequence[float]
) -> dict[str, Tensor]:
    """Summarizes the predictive distribution of each row.

    Args:
        likelihood: of the outputs.
        outputs: `[S, B, .., P]`.
        levels: of quantiles, Q of them.

    Returns:
        `[B, ...]` each, by the names of `Predictive`.
    """
    if likelihood.is_classification:
        return _of_labels(likelihood, outputs)
    mean, epistemic, aleatoric = mixture.averages(likelihood, outputs)
    found = {
        "mean": mean,
        "variance": epistemic + aleatoric,
        "epistemic_variance": epistemic,
        "aleatoric_variance": aleatoric,
    }
    if levels:
        quantiles = mixture.quantile(
            mixture.cdf_of(likelihood, outputs),
            levels,
            *mixture.centers(mean, epistemic + aleatoric),
            likelihood.is_discrete,
        )
        found["quantiles"] = batch_first(quantiles)
    return found


def _of_labels(likelihood: Likelihood, outputs: Tensor) -> dict[str, Tensor]:
    p, _, expected, _ = classification.averages(likelihood, _apart(outputs))
    total = classification.entropy(p)
    return {
        "probabilities": classification.of_targets(likelihood, p),
        "predictive_entropy": total,
        "expected_entropy": expected,
        "mutual_information": tf.maximum(total - expected, 0.0),
    }


def _apart(outputs: Tensor) -> Tensor:
    """Puts the outputs out of reach of what made them.

    OpenVINO (2026.4) turns axes of a convolution and what follows it around,
    and takes a LogSoftmax then over another axis: its probabilities had sums
    of 0.5. It stops at a shape that is computed.
    """
    y = tf.reshape(outputs, tf.shape(outputs))
    y.set_shape(outputs.shape)
    return y


def summarize_mean(
    likelihood: Likelihood, outputs: Tensor, levels: Sequence[float]
) -> dict[str, Tensor]:
    """Gives the summaries that one network can: none is epistemic."""
    del levels
    found = summarize(likelihood, outputs, ())
    if likelihood.is_classification:
        kept = ("probabilities", "predictive_entropy")
    else:
        kept = ("mean", "aleatoric_variance")
    return {name: found[name] for name in kept}


def samples(
    likelihood: Likelihood, outputs: Tensor, levels: Sequence[float]
) -> dict[str, Any]:
    """Gives the draws as they are, `[B, S, .., P]`."""
    del likelihood, levels
    return {"outputs": batch_first(outputs)}


def where_finite(rows: Tensor | None, y: Tensor) -> Tensor:
    """Puts NaN into rows of which something is not finite; float32."""
    y = tf.cast(y, tf.float32)
    if rows is None:
        return y
    rows = tf.reshape(rows, [-1] + [1] * (len(y.shape) - 1))
    return tf.where(rows, y, tf.constant(float("nan"), y.dtype))
