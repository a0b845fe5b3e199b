"""Scores of rows, each by itself: how much its label would tell."""

from typing import Any

import numpy as np

from tfpbnn import metrics
from tfpbnn.acquisition import reading
from tfpbnn.base.types import Array
from tfpbnn.prediction.results import Predictive

_NORMAL_ENTROPY = 0.5 * np.log(2 * np.pi * np.e)


def entropy(predictive: Any) -> Array:
    """Computes the entropy of the predicted target, in nats: all uncertainty.

    It is high where labels are ambiguous too, which no more data would mend. Of
    numbers it is that of Normals with the same variances.

    Args:
        predictive: a `Predictive` of N rows; or the probabilities of classes at
            each draw, `[S, N, K]`.

    Returns:
        The scores, `[N]`; larger ones are asked for first. Several targets of a
        row add up; of several places (steps, pixels) the mean is taken over
        those that count, and it is NaN where none does.

    Raises:
        TypeError, ValueError: if the prediction is of another kind, or an array
            has other axes or no probabilities.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.1, 0.9], [0.5, 0.5]]])
    tfpbnn.acquisition.entropy(draws)               # 0.693 for both rows
    ```
    """
    if _is_of_numbers(predictive):
        score = _NORMAL_ENTROPY + 0.5 * np.log(predictive.variance)
        return reading.by_row(predictive, score)
    return _of_labels(predictive, "predictive_entropy")


def bald(predictive: Any) -> Array:
    """Computes the information of target and weights, in nats: epistemic.

    It is high where the draws are sure of different labels, and zero where they
    agree that a label is ambiguous. Of numbers it is that of Normals with the
    same variances, `log(1 + epistemic / aleatoric) / 2`.

    Args:
        predictive: as of `entropy`.

    Returns:
        The scores, `[N]`, as of `entropy`.

    Raises:
        TypeError, ValueError: as `entropy`.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.1, 0.9], [0.5, 0.5]]])
    tfpbnn.acquisition.bald(draws)                  # 0.368, 0
    ```

    Reference:
        [Houlsby et al., 2011](https://arxiv.org/abs/1112.5745)
    """
    if _is_of_numbers(predictive):
        parts = predictive.epistemic_variance, predictive.aleatoric_variance
        with np.errstate(divide="ignore", invalid="ignore"):
            score = 0.5 * np.log1p(parts[0] / parts[1])
        return reading.by_row(predictive, np.where(parts[0] > 0, score, 0))
    return _of_labels(predictive, "mutual_information")


def variation_ratios(predictive: Any) -> Array:
    """Computes the share of draws with another label than most draws.

    Args:
        predictive: of labels, as of `entropy`.

    Returns:
        The scores, `[N]`, as of `entropy`.

    Raises:
        TypeError, ValueError: as `entropy`.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1]], [[0.8, 0.2]], [[0.3, 0.7]]])    # [3, 1, 2]
    tfpbnn.acquisition.variation_ratios(draws)      # 1 of 3: 0.333
    ```

    Reference:
        Freeman, 1965, Elementary applied statistics
    """
    return _of_labels(predictive, "variation_ratio")


def mean_sd(predictive: Any) -> Array:
    """Computes the standard deviation over draws, averaged over classes.

    Args:
        predictive: of labels, as of `entropy`.

    Returns:
        The scores, `[N]`, as of `entropy`.

    Raises:
        TypeError, ValueError: as `entropy`.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.1, 0.9], [0.5, 0.5]]])
    tfpbnn.acquisition.mean_sd(draws)               # 0.4, 0
    ```

    Reference:
        [Kendall et al., 2017](https://arxiv.org/abs/1511.02680)
    """
    p = reading.labels(predictive)
    deviations = np.sqrt(np.maximum(p.summaries[1], 0))
    return reading.by_row(p, np.mean(deviations, axis=-1))


def margin(predictive: Any) -> Array:
    """Computes how near the second most probable class is to the first.

    Args:
        predictive: of labels, as of `entropy`.

    Returns:
        Minus the difference of the two probabilities, `[N]`, as of `entropy`.

    Raises:
        TypeError, ValueError: as `entropy`.

    Example:
    ```python
    draws = np.array([[[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]]])          # [1, 2, 3]
    tfpbnn.acquisition.margin(draws)                # -0.2, -0.8
    ```

    Reference:
        [Scheffer et al., 2001](https://doi.org/10.1007/3-540-44816-0_31)
    """
    p = reading.labels(predictive)
    top = np.partition(p.summaries[0], -2, axis=-1)
    return reading.by_row(p, top[..., -2] - top[..., -1])


def least_confidence(predictive: Any) -> Array:
    """Computes one minus the probability of the most probable class.

    Args:
        predictive: of labels, as of `entropy`.

    Returns:
        The scores, `[N]`, as of `entropy`.

    Raises:
        TypeError, ValueError: as `entropy`.

    Example:
    ```python
    draws = np.array([[[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]]])          # [1, 2, 3]
    tfpbnn.acquisition.least_confidence(draws)      # 0.5, 0.1
    ```

    Reference:
        [Lewis and Gale, 1994](https://arxiv.org/abs/cmp-lg/9407020)
    """
    return _of_labels(predictive, "max_probability")


def epistemic_variance(predictive: Any) -> Array:
    """Computes the variance over draws of the expected target.

    It is in squared units of the targets; of labels it is the sum over the
    probabilities of all classes.

    Args:
        predictive: a `Predictive` of N rows; or draws of numbers, or of the
            probabilities of classes, `[S, N]` or `[S, N, k]`.

    Returns:
        The scores, `[N]`, as of `entropy`.

    Raises:
        ValueError: if an array has other axes.

    Example:
    ```python
    tfpbnn.acquisition.epistemic_variance(p)                        # [N]
    ```
    """
    if isinstance(predictive, Predictive):
        return _named(predictive, "epistemic_variance")
    variance = np.var(reading.draws(predictive), axis=0)
    return np.sum(variance.reshape(len(variance), -1), axis=-1)


def _is_of_numbers(predictive: Any) -> bool:
    is_prediction = isinstance(predictive, Predictive)
    return is_prediction and not predictive.likelihood.is_classification


def _of_labels(predictive: Any, name: str) -> Array:
    return _named(reading.labels(predictive), name)


def _named(predictive: Predictive, name: str) -> Array:
    found = metrics.uncertainty(predictive, name)
    return reading.by_row(predictive, found)
