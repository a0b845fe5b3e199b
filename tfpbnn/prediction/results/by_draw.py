"""What each draw alone says of targets, where the rest is of their mixture."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Array, Tensor
from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.draws import check_draws_stay
from tfpbnn.prediction.results.targets import scored


def log_prob(predictive: Predictive, y: Any, sample_weight: Any) -> Array:
    """The log-likelihood of each row under each draw, `[S, N]`.

    It is what the row adds to the log-likelihood of the data: the sum over
    those of its places that count, times their weights, and 0 where none does.

    Args:
        predictive: a prediction of N rows.
        y: targets, one row for each predicted row.
        sample_weight: weights of rows `[N]` or of places `[N, ...]`, or None.
    """
    check_draws_stay(predictive.likelihood, "log_likelihood")
    p, y, weights, counted = scored(predictive, y, sample_weight)

    def chunk(outputs: Tensor, y: Tensor) -> Tensor:
        y = tf.broadcast_to(y, [outputs.shape[0], *y.shape])
        found = p.likelihood.log_prob(y, outputs)
        return tf.transpose(found, [*range(1, len(found.shape)), 0])

    found = p._by_rows(chunk, y)
    if weights is not None:
        found = found * weights[..., np.newaxis]
    if counted is not None:
        everywhere: Array = np.zeros([*counted.shape, found.shape[-1]])
        everywhere[counted] = found
        found = everywhere
    return found.sum(tuple(range(1, found.ndim - 1))).T


def samples(predictive: Predictive, seed: int | None) -> Array:
    """One sample of the targets by each draw, `[S, N, k]`; labels `[S, N]`.

    Args:
        predictive: a prediction of N rows.
        seed: an integer for the same samples each time.
    """
    check_draws_stay(predictive.likelihood, "posterior_predictive")
    _, noise_seed = random.choices(seed, 1, 1)
    outputs = tf.constant(predictive.outputs)
    marginals = predictive.likelihood.marginals(outputs)
    return marginals.sample(seed=noise_seed).numpy()
