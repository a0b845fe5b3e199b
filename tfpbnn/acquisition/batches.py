"""Selectors that take several rows by the scores of each."""

from typing import Any

import numpy as np

from tfpbnn import random
from tfpbnn.base import checks, data
from tfpbnn.base.types import Array


def top(scores: Any, k: int) -> Array:
    """Chooses the rows of the highest scores, the first ones where equal.

    Rows that are alike are chosen together, though the label of one would tell
    that of the others: for many rows at once see `power` and `batch_bald`.

    Args:
        scores: `[N]`, of an acquisition. Rows of score NaN are never chosen.
        k: the number of rows to choose.

    Returns:
        The indices of k different rows, `[k]`, the highest score first.

    Raises:
        ValueError: if there are fewer than k rows with a score.

    Example:
    ```python
    tfpbnn.acquisition.top([0.1, 0.5, 0.3], k=2)    # rows 1, 2
    ```
    """
    return _highest(_scores(scores, k), k)


def power(
    scores: Any, k: int, *, beta: float = 1.0, seed: int | None = None
) -> Array:
    """Chooses rows at random, each next one in proportion to `score^beta`.

    With `bald` scores this is PowerBALD: nearly as good as `batch_bald`, in the
    time of `top`. Scores are taken for 0 where they are negative.

    Args:
        scores: `[N]`, of an acquisition. Rows of score NaN are never chosen.
        k: the number of rows to choose.
        beta: 0 chooses uniformly, infinity would be `top`.
        seed: an integer, for the same rows each time.

    Returns:
        The indices of k different rows, `[k]`.

    Raises:
        ValueError: if there are fewer than k rows with a score, or `beta` is
            negative.

    Example:
    ```python
    tfpbnn.acquisition.power([0.1, 0.5, 0.3], k=2, seed=0)
    ```

    Reference:
        [Kirsch et al., 2023](https://arxiv.org/abs/2106.12059)
    """
    return _at_random(log(_scores(scores, k)), k, beta, seed)


def softmax(
    scores: Any, k: int, *, beta: float = 1.0, seed: int | None = None
) -> Array:
    """Chooses rows at random, each next one in proportion to `exp(beta score)`.

    Args:
        scores, k, seed: as of `power`.
        beta: how much scores count; in the units of one over the scores.

    Returns:
        The indices of k different rows, `[k]`.

    Raises:
        ValueError: as `power`.

    Example:
    ```python
    tfpbnn.acquisition.softmax([0.1, 0.5, 0.3], k=2, beta=10.0, seed=0)
    ```

    Reference:
        [Kirsch et al., 2023](https://arxiv.org/abs/2106.12059)
    """
    return _at_random(_scores(scores, k), k, beta, seed)


def log(scores: Array) -> Array:
    """Computes the logarithms of scores; of 0 and less, that of hardly any."""
    return np.log(np.maximum(scores, np.finfo(np.float64).tiny))


def check_size(k: Any, rows: int) -> int:
    """Checks the number of rows to choose.

    Raises:
        ValueError: if it is not positive, or above the number of rows.
    """
    k = checks.positive_integer("k", k)
    if k > rows:
        raise ValueError(
            f"`k` must be at most {rows}, the number of rows to choose from. "
            f"Received: k={k}"
        )
    return k


def _scores(scores: Any, k: int) -> Array:
    values = np.asarray(scores)
    data.check_numbers("`scores`", values)
    values = values.astype(np.float64)
    if values.ndim != 1:
        raise ValueError(
            "`scores` must have one score for each row, `[N]`. Received: the "
            f"shape {values.shape}"
        )
    check_size(k, int(np.sum(~np.isnan(values))))
    return values


def _at_random(logits: Array, k: int, beta: float, seed: int | None) -> Array:
    """Chooses without replacement, in proportion to `exp(beta logits)`."""
    checks.non_negative("beta", beta)
    noise = random.generator(seed).gumbel(size=logits.shape)
    return _highest(beta * logits + noise, k)


def _highest(scores: Array, k: int) -> Array:
    # NaN is sorted behind all numbers.
    return np.argsort(-scores, kind="stable")[:k]
