"""Applies what `tfpbnn.calibration` has fitted to mixtures over draws.

The draws themselves stay what they are: it is their mixture that is mapped. How
much of a total entropy or variance is epistemic stays the same share.
"""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.likelihoods.recalibration import Recalibration
from tfpbnn.prediction.results import mixture

# How many elements of [T, S, rows, P] are worked on at once, in float64.
_CHUNK = 2**21


def of_draws(likelihood: Likelihood) -> Likelihood:
    """Makes the likelihood of draws, without what maps their mixture."""
    found = likelihood.recalibration
    return likelihood.recalibrated(None if found is None else found.of_draws)


def of_yes_or_classes(found: Recalibration, p: Tensor, is_one: bool) -> Tensor:
    """Maps class probabilities `[.., K]`, or `[.., k, 2]` of no and yes.

    Args:
        found: the map.
        p: the probabilities.
        is_one: whether the K classes are of one label.
    """
    if is_one:
        return found.probabilities(p)
    yes = found.probabilities(p[..., 1])
    return tf.stack([1 - yes, yes], axis=-1)


def shares(
    found: Recalibration,
    averages: tuple[Tensor, ...],
    is_one: bool,
    entropy: Any,
) -> tuple[Tensor, ...]:
    """Maps a classification's averages over draws.

    Args:
        found: the map of the mixture.
        averages: probabilities, their variance over draws, the expected
            entropy and the share of votes.
        is_one: whether the K classes are of one label.
        entropy: a function from probabilities to their entropy.
    """
    p, variance, expected, votes = averages
    q = of_yes_or_classes(found, p, is_one)
    total = entropy(p)
    information = tf.math.divide_no_nan(total - expected, total)
    epistemic = tf.math.divide_no_nan(variance, p * (1 - p))
    return (
        q,
        tf.minimum(epistemic, 1.0) * q * (1 - q),
        entropy(q) * (1 - tf.clip_by_value(information, 0.0, 1.0)),
        votes,
    )


def labels(p: Array, count: int, seed: Any, is_one: bool) -> Array:
    """Draws labels `[count, N, ...]`, of each place by itself.

    Args:
        p: probabilities of classes, `[N, ..., K]`, or of yes, `[N, ..., k]`.
        count: the number of samples.
        seed: that of the noise.
        is_one: whether the K classes are of one label.
    """
    shape = p.shape[:-1] if is_one else p.shape
    first, second = map(int, seed)
    uniforms = random.uniforms(first + 2**31 * second, (count, *shape))
    if not is_one:
        return (uniforms < p).astype(np.int32)
    below = np.cumsum(p, axis=-1)[..., :-1]
    return np.sum(uniforms[..., None] >= below, axis=-1).astype(np.int32)


def log_prob_of_labels(p: Array, y: Array, is_one: bool) -> Array:
    """Computes the log-probability of labels that are aligned, `[N, ...]`."""
    logs = np.log(np.maximum(p, np.finfo(np.float64).tiny))
    if not is_one:
        noes = np.log(np.maximum(1 - p, np.finfo(np.float64).tiny))
        return np.sum(np.where(y == 0, 0, y * logs), -1) + np.sum(
            np.where(y == 1, 0, (1 - y) * noes), -1
        )
    if y.ndim == p.ndim:
        return np.sum(np.where(y == 0, 0, y * logs), axis=-1)
    picked: Array = y.astype(np.int64)[..., None]
    return np.take_along_axis(logs, picked, axis=-1)[..., 0]


def samples(predictive: Any, y: Array) -> Array:
    """Maps samples of a mixture to those of the calibrated distribution.

    Args:
        predictive: a prediction of numbers.
        y: samples of the mixture before, `[T, N, ..., k]`.
    """

    def chunk(outputs: Tensor, y: Tensor) -> Tensor:
        y = tf.experimental.numpy.moveaxis(y, 1, 0)
        y = _targets(predictive.likelihood, outputs, y, False)
        return tf.experimental.numpy.moveaxis(y, 1, 0)

    size = max(1, _CHUNK // len(y))
    y = np.swapaxes(y, 0, 1).astype(np.float64)
    return np.swapaxes(predictive._by_rows(chunk, y, chunk=size), 0, 1)


def log_prob(predictive: Any, y: Array) -> Array:
    """Computes the log density of targets `[N, ..., k]`, jointly for the k.

    Args:
        predictive: a prediction of numbers.
        y: the targets, aligned.
    """
    chunk = functools.partial(_log_prob, predictive.likelihood)
    return predictive._by_rows(chunk, y)


def _targets(
    likelihood: Likelihood, outputs: Tensor, y: Tensor, is_inverse: bool
) -> Tensor:
    """Maps targets so that their distribution is the calibrated one.

    Where y has the mixture's own distribution, the result has the calibrated
    one, at the same levels; so targets stay as correlated as they were.

    Args:
        likelihood: the likelihood.
        outputs: the outputs at all draws, `[S, n, .., P]`.
        y: targets, `[Q, n, .., k]`.
        is_inverse: whether to go back: from the calibrated ones.
    """
    found = likelihood.of_mixture
    assert found is not None
    raw = of_draws(likelihood)
    marginals = raw.marginals(outputs)

    def cdf(y: Tensor) -> Tensor:
        found = tf.reduce_mean(marginals.cdf(y[:, tf.newaxis]), axis=1)
        return tf.ensure_shape(found, y.shape)

    levels = (found.levels if is_inverse else found.raw_levels)(cdf(y))
    tiny = tf.constant(1e-12, levels.dtype)
    levels = tf.clip_by_value(levels, tiny, 1 - tiny)
    center, width = mixture.centers(*_mean_and_variance(raw, outputs))
    return mixture.quantile(cdf, levels, center, width, False, tolerance=1e-9)


def _log_prob(likelihood: Likelihood, outputs: Tensor, y: Tensor) -> Tensor:
    """Computes the log density of targets `[n, .., k]`, jointly for the k.

    Args:
        likelihood: the likelihood.
        outputs: the outputs at all draws, `[S, n, .., P]`.
        y: the targets.
    """
    found = likelihood.of_mixture
    assert found is not None
    raw = of_draws(likelihood)
    count = tf.math.log(tf.cast(tf.shape(outputs)[0], outputs.dtype))

    def joint(y: Tensor) -> Tensor:
        y = tf.broadcast_to(y, tf.concat([tf.shape(outputs)[:1], y.shape], 0))
        return tf.reduce_logsumexp(raw.log_prob(y, outputs), axis=0) - count

    levels = mixture.cdf_of(raw, outputs)(y[tf.newaxis])[0]
    slopes = tf.reduce_sum(tf.math.log(found.slopes(levels)), axis=-1)
    if y.shape[-1] == 1:
        return joint(y) + slopes

    def each(y: Tensor) -> Tensor:
        log_prob = raw.marginals(outputs).log_prob(y)
        log_prob = tf.reduce_logsumexp(log_prob, axis=0) - count
        return tf.reduce_sum(log_prob, axis=-1)

    # The targets' dependence is that of the mixture, at the same levels.
    before = _targets(likelihood, outputs, y[tf.newaxis], is_inverse=True)[0]
    return joint(before) - each(before) + each(y) + slopes


def _mean_and_variance(
    likelihood: Likelihood, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    mean, epistemic, aleatoric = mixture.averages(likelihood, outputs)
    return mean, epistemic + aleatoric
