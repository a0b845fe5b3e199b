"""Uncertainty scores that are read off a prediction's draws and logits."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Categorical


def pairwise_kl(predictive: Any) -> Array:
    """Averages the KL between the labels' distributions of two draws.

    The mean is over all pairs of different draws, which is unbiased: no draw is
    compared with itself. It takes O(S K), since the sum over pairs of `p_s log
    p_t` is that of sums.

    Args:
        predictive: a prediction of labels with 2 draws or more.

    Returns:
        `[N, ...]`, in nats; of yes-or-no labels `[N, ..., k]`.

    Reference:
        [Malinin and Gales, 2021](https://arxiv.org/abs/2002.07650)
    """
    _check_draws("pairwise_kl", predictive, 2)
    likelihood = predictive.likelihood

    def chunk(outputs: Tensor) -> Array:
        logs = _log_probabilities(likelihood, outputs).numpy()
        p, count = np.exp(logs), len(logs)
        own = np.sum(p * logs, axis=(0, -1))
        crossed = np.sum(p.sum(axis=0) * logs.sum(axis=0), axis=-1)
        return np.maximum(count * own - crossed, 0) / (count * (count - 1))

    return predictive._by_rows(chunk)


def max_logit(predictive: Any) -> Array:
    """Minus the largest of the logits, which are averaged over draws.

    Reference:
        [Hendrycks et al., 2022](https://arxiv.org/abs/1911.11132)
    """
    _check_logits("max_logit", predictive)
    return -np.max(np.mean(predictive.outputs, axis=0), axis=-1)


def energy(predictive: Any) -> Array:
    """Averages the free energy, minus the logsumexp of logits, over draws.

    Reference:
        [Liu et al., 2020](https://arxiv.org/abs/2010.03759)
    """
    _check_logits("energy", predictive)

    def chunk(outputs: Tensor) -> Tensor:
        return -tf.reduce_mean(tf.reduce_logsumexp(outputs, axis=-1), axis=0)

    return predictive._by_rows(chunk)


def _log_probabilities(likelihood: Any, outputs: Tensor) -> Tensor:
    """Computes those of classes `[.., K]`; of yes-or-no labels `[.., k, 2]`."""
    if isinstance(likelihood, Categorical):
        found = likelihood.log_probabilities(outputs)
    elif likelihood.parameters == ("logit",):
        signs = [-outputs, outputs]
        found = tf.stack([tf.math.log_sigmoid(z) for z in signs], axis=-1)
    else:
        yes = likelihood.marginals(outputs).mean()
        found = tf.math.log(tf.stack([1 - yes, yes], axis=-1))
    # A class of probability 0 is as unlikely as numbers can say.
    return tf.maximum(found, np.log(np.finfo(np.float64).tiny))


def _check_draws(name: str, predictive: Any, least: int) -> None:
    count = len(predictive.outputs)  # says so if they were not kept
    if count < least:
        raise ValueError(
            f"`predictive` must have {least} draws or more for {name!r}. "
            f"Received: {count}"
        )


def _check_logits(name: str, predictive: Any) -> None:
    likelihood = predictive.likelihood
    is_of_classes = isinstance(likelihood, Categorical)
    if not is_of_classes or likelihood.parameters != ("logit",):
        raise ValueError(
            f"`predictive` must be of logits of classes for {name!r}. "
            f"Received: a prediction with {likelihood!r}. Let the model give "
            "logits, under Categorical(from_logits=True)"
        )
    _check_draws(name, predictive, 1)
