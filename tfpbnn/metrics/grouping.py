"""Bounds how much places with the same confidence differ, from below."""

import math
from typing import Any

import numpy as np

from tfpbnn import random
from tfpbnn.base import checks, data
from tfpbnn.base.types import Array
from tfpbnn.metrics import bootstrap, rows
from tfpbnn.metrics.events import Events, equal_mass, events
from tfpbnn.metrics.rows import Rows


def grouping_loss(
    y_true: Any,
    y_pred: Any,
    features: Any,
    num_bins: int = 15,
    sample_weight: Any = None,
    *,
    of: str = "confidence",
    num_groups: int = 2,
    n_boot: int | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> float:
    """Bounds the grouping loss from below, by groups that features tell apart.

    A calibrated model can still be wrong of each row: if of those with a
    confidence of 0.7 one half is always right and the other right at 0.4, 0.7
    is right on average. The grouping loss is the variance of the true
    probability among places of the same confidence, which no recalibration
    takes away. Half of the rows are used to find, in each bin of confidence,
    groups by a tree on the features; the others to measure how far the groups'
    frequencies are apart, less what chance adds and what the confidence tells
    within the bin. Groups with one row to measure are left out.

    Args:
        y_true: the labels, `[N]`, or one-hot `[N, K]`.
        y_pred: a prediction of labels; or probabilities `[N, K]`, or those of
            "yes", `[N, 1]` or `[N]`.
        features: numbers `[N, F]`, such as the outputs of the last hidden
            layer; one row for each row of y_true.
        num_bins: the number of bins, with as many places each.
        sample_weight: the weights of rows `[N]`.
        of: the probabilities of what, as in `ece`.
        num_groups: the most groups in each bin, 2 or more.
        n_boot: the number of resamples of the rows of the second half; None
            for a plain number.
        seed: an integer for the same halves and resamples each time.
        level: the probability of the interval, between 0 and 1.

    Returns:
        The bound, as a part of half the Brier score of yes-or-no: in [0, 0.25],
        but by chance it may be a little below 0. (The authors' `glest` gives
        twice as much, a part of the Brier score.) With `n_boot`, an `Estimate`.

    Raises:
        ImportError: if scikit-learn is not installed.
        TypeError: if something holds other things than numbers.
        ValueError: as `ece`; if features are NaN or not one row for each row;
            if there are fewer than 4 rows, or so few that no group has 2 to
            measure.

    Example:
    ```python
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, [1000, 1])
    y = rng.random(1000) < np.where(x[:, 0], 0.9, 0.5)
    tfpbnn.metrics.grouping_loss(y, np.full(1000, 0.7), x, seed=0)  # ~ 0.04
    ```

    Reference:
        [Perez-Lebel et al., 2023](https://arxiv.org/abs/2210.16315)
    """
    checks.positive_integer("num_bins", num_bins)
    checks.integer("num_groups", num_groups, least=2)
    given = events(y_true, y_pred, sample_weight, of)
    x = _features(features, given.rows.row, len(y_true))
    names = np.unique(given.rows.row)
    if len(names) < 4:
        raise ValueError(
            "`y_true` must have 4 or more rows that count, to find groups with "
            f"one half and to measure with the other. Received: {len(names)}"
        )
    seed = bootstrap.fixed(seed)
    chosen = random.generator(seed).permutation(names)[: len(names) // 2]
    first = np.isin(given.rows.row, chosen)
    # The bins are those of all rows: events don't decide them.
    bins = equal_mass(given.p, given.group, num_bins)(given.rows.weights)
    group = _groups(given, x, bins, first, num_groups)
    p, came = given.p[~first], given.came[~first]
    bins, group = bins[~first], group[~first]

    def statistic(weights: Array) -> float:
        # How much chance adds to a group's frequency, one place does not tell.
        weights = weights * (_alone(group, weights) < 1 - 1e-12)[group]
        if not np.any(weights):
            return math.nan
        apart = _explained(came, group, weights)
        together = _explained(came, bins, weights)
        return apart - together - _by_score(p, came, bins, weights)

    second = Rows(given.rows.weights[~first], given.rows.row[~first])
    if math.isnan(statistic(second.weights)):
        raise ValueError(
            "`num_bins` must be so small that a group has 2 or more rows to "
            f"measure. Received: num_bins={num_bins}, num_groups={num_groups}, "
            f"and {len(names)} rows that count"
        )
    return bootstrap.estimate(statistic, second, n_boot, seed, level)


def _features(features: Any, row: Array, num_rows: int) -> Array:
    """Gives the features of each place, `[n, F]`."""
    x = rows.array("features", features)
    if x.ndim == 0 or len(x) != num_rows:
        raise ValueError(
            f"`features` must have one row for each of the {num_rows} rows of "
            f"`y_true`. Received: features of shape {x.shape}"
        )
    found = x.reshape(num_rows, -1)[row]
    data.check_finite("features", found)
    return found


def _groups(
    given: Events, x: Array, bins: Array, first: Array, num_groups: int
) -> Array:
    """Numbers the groups of all places, which trees of the first half make."""
    try:
        from sklearn.tree import DecisionTreeRegressor
    except ImportError as error:
        raise ImportError(
            "`grouping_loss` needs scikit-learn: pip install scikit-learn"
        ) from error
    found: Array = np.zeros(len(bins), np.int64)
    for which in np.unique(bins):
        inside = bins == which
        learn = inside & first
        leaf: Array = np.zeros(inside.sum(), np.int64)
        if learn.sum() > 1:
            tree = DecisionTreeRegressor(
                max_leaf_nodes=num_groups, random_state=0
            )
            tree.fit(x[learn], given.came[learn], given.rows.weights[learn])
            leaf = tree.apply(x[inside])
        found[inside] = which * 2 * num_groups + leaf
    return np.unique(found, return_inverse=True)[1]


def _alone(index: Array, weights: Array) -> Array:
    """The inverse of Kish's number of places in each bin; 1 if it has one."""
    weight = np.bincount(index, weights)
    squares = np.bincount(index, weights**2)
    return squares / np.maximum(weight**2, np.finfo(float).tiny)


def _explained(came: Array, index: Array, weights: Array) -> float:
    """The mean square of the bins' frequencies, less what chance adds."""
    columns = [weights, weights * came]
    sums = np.stack([np.bincount(index, c) for c in columns], axis=-1)
    is_there = sums[:, 0] > 0
    weight, events_sum = sums[is_there].T
    frequency, alone = events_sum / weight, _alone(index, weights)[is_there]
    chance = frequency * (1 - frequency) * alone / (1 - alone)
    return float(weight @ (frequency**2 - chance) / weight.sum())


def _by_score(p: Array, came: Array, bins: Array, weights: Array) -> float:
    """What a line over the probability explains within bins, less chance."""
    columns = np.stack([np.ones_like(p), p, came, p * p, p * came], axis=-1)
    sums = np.stack(
        [np.bincount(bins, weights * column) for column in columns.T], axis=-1
    )
    is_there = sums[:, 0] > 0
    alone = _alone(bins, weights)[is_there]
    weight, *means = sums[is_there].T
    p, came, square, product = (part / weight for part in means)
    variance = square - p * p
    varies = variance > 1e-12
    covariance = (product - p * came)[varies]
    chance = (came * (1 - came) * alone / (1 - alone))[varies]
    line = covariance**2 / variance[varies] - chance
    return float(weight[varies] @ line / weight.sum())
