"""Scores how far the draws of a prediction differ in their labels."""

from typing import Any

import numpy as np

from tfpbnn.base import data
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, rows
from tfpbnn.metrics.labels import check_kind, check_probabilities
from tfpbnn.metrics.rows import Rows


def disagreement(
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes how often two draws (or members) have different labels.

    It is the share of pairs of different draws whose most probable classes
    differ, the mean over places. It needs no true labels, and is 0 for one
    network.

    Args:
        y_pred: a prediction of labels; or the probabilities at each draw,
            `[S, N, ..., K]`.
        sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
        n_boot, seed, level: as in `tfpbnn.metrics.accuracy`.

    Returns:
        The share, in [0, 1]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError: if y_pred is not a prediction of labels, or numbers.
        ValueError: if there is one draw, if probabilities are none, or nothing
            counts.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1]], [[0.8, 0.2]], [[0.3, 0.7]]])    # [3, 1, 2]
    tfpbnn.metrics.disagreement(draws)              # 2 of 3 pairs: 0.667
    ```
    """
    votes, num_draws, each = _votes(y_pred, sample_weight)
    if num_draws < 2:
        raise ValueError(
            "`y_pred` must have 2 or more draws, since draws are compared with "
            f"each other. Received: {num_draws} draw"
        )
    pairs = num_draws / (num_draws - 1) * (1 - np.sum(votes**2, axis=-1))
    return bootstrap.mean(pairs, each, n_boot, seed, level)


def variation_ratio(
    y_pred: Any,
    sample_weight: Any = None,
    *,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Computes the share of draws that don't vote for the most voted class.

    It is the mean over places of `Predictive.variation_ratio`. (Some packages
    count the draws that differ from the most probable class of the average,
    which are as many or more.)

    Args:
        y_pred, sample_weight, n_boot, seed, level: as in `disagreement`.

    Returns:
        The share, in [0, 1 - 1/K]; with `n_boot`, an `Estimate`.

    Raises:
        TypeError, ValueError: as `disagreement`, but for one draw.

    Example:
    ```python
    draws = np.array([[[0.9, 0.1]], [[0.8, 0.2]], [[0.3, 0.7]]])    # [3, 1, 2]
    tfpbnn.metrics.variation_ratio(draws)           # 1 of 3: 0.333
    ```

    Reference:
        Freeman, 1965, Elementary applied statistics
    """
    votes, _, each = _votes(y_pred, sample_weight)
    ratios = 1 - np.max(votes, axis=-1)
    return bootstrap.mean(ratios, each, n_boot, seed, level)


def _votes(y_pred: Any, sample_weight: Any) -> tuple[Array, int, Rows]:
    """Gives the share of draws for each class `[n, K]`, and how many draws."""
    mask = None
    if rows.is_predictive(y_pred):
        check_kind(y_pred)
        votes, num_draws = y_pred.summaries[3], y_pred.num_samples
        mask, shape = y_pred.mask, y_pred.outputs_shape[:-1]
    else:
        p = rows.array("y_pred", y_pred)
        if p.ndim < 3 or p.shape[-1] < 2 or len(p) < 1:
            raise ValueError(
                "`y_pred` must be a prediction, or probabilities of 2 or more "
                "classes at each draw, `[S, N, ..., K]`. Received: y_pred of "
                f"shape {p.shape}"
            )
        top, num_draws, shape = np.argmax(p, axis=-1), len(p), p.shape[1:-1]
        votes = np.stack(
            [np.mean(top == k, axis=0) for k in range(p.shape[-1])], axis=-1
        )
    weights, row, kept = rows.counted(sample_weight, shape, mask)
    if rows.is_predictive(y_pred):
        # A draw that is NaN votes too.
        data.check_finite("y_pred", y_pred.summaries[0][kept])
    else:
        check_probabilities("y_pred", p[:, kept])
    votes = votes[kept]
    # Each label of `Bernoulli` is a value of its place.
    each = rows.flat(weights, row, votes[..., 0])
    return votes.reshape(-1, votes.shape[-1]), num_draws, each
