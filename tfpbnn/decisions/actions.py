"""Chooses actions by what they cost, or are worth, on average."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfpbnn.base import checks, data
from tfpbnn.base.places import over_targets
from tfpbnn.base.types import Array
from tfpbnn.metrics.labels import check_probabilities
from tfpbnn.prediction.results import Predictive


def expected_cost(predictive: Any, costs: Any) -> Array:
    """Computes what each action costs on average, under the prediction.

    Args:
        predictive: a `Predictive` of labels; or the probabilities of classes,
            `[N, ..., K]`.
        costs: what an action costs for each true class, `[K, A]`, in any unit;
            negative costs are gains. One minus the identity counts errors.
            Yes-or-no labels have the classes no and yes.

    Returns:
        The costs, `[N, ..., A]`; NaN at places that the mask leaves out.

    Raises:
        TypeError: if the prediction is of numbers.
        ValueError: if `costs` has another shape or is not finite, or an array
            has no probabilities.

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4]])          # healthy, ill
    costs = [[0, 1], [10, 0]]                       # actions: wait, treat
    tfpbnn.decisions.expected_cost(p, costs)        # [[1, 0.9], [4, 0.6]]
    ```
    """
    p, mask = _probabilities(predictive)
    each = np.asarray(costs)
    data.check_numbers("`costs`", each)
    if each.ndim != 2 or len(each) != p.shape[-1] or not each.shape[1]:
        raise ValueError(
            "`costs` must have a row for each true class and a column for each "
            f"action, `[{p.shape[-1]}, A]`. Received: the shape {each.shape}"
        )
    data.check_finite("costs", each)
    found = p @ each.astype(np.float64)
    if mask is None:
        return found
    return np.where(over_targets(mask, found[..., 0])[..., None], found, np.nan)


def optimal(
    predictive: Any, costs: Any, *, cost_of_deferral: float | None = None
) -> Array:
    """Chooses the action of the least expected cost (Bayes's decision).

    Args:
        predictive, costs: as of `expected_cost`.
        cost_of_deferral: what it costs to ask someone else; None if that can't
            be done.

    Returns:
        The index of an action, `[N, ...]`, the first one where costs are equal;
        -1 to defer, where all actions cost more than that, and at places that
        the mask leaves out.

    Raises:
        TypeError, ValueError: as `expected_cost`; if `cost_of_deferral` is not
            finite.

    Example:
    ```python
    p = np.array([[0.9, 0.1], [0.6, 0.4]])          # healthy, ill
    costs = [[0, 1], [10, 0]]                       # actions: wait, treat
    tfpbnn.decisions.optimal(p, costs)              # [1, 1]: treat both
    tfpbnn.decisions.optimal(p, costs, cost_of_deferral=0.7)        # [-1, 1]
    ```

    Reference:
        [Chow, 1970](https://doi.org/10.1109/TIT.1970.1054406)
    """
    checks.finite.optional("cost_of_deferral", cost_of_deferral)
    expected = expected_cost(predictive, costs)
    hidden = np.isnan(expected[..., 0])
    least = np.min(np.where(np.isnan(expected), np.inf, expected), axis=-1)
    chosen = np.argmin(np.where(np.isnan(expected), 0, expected), axis=-1)
    if cost_of_deferral is not None:
        hidden |= least > cost_of_deferral
    return np.where(hidden, -1, chosen)


def expected_utility(
    predictive: Predictive,
    utility: Callable[[Array, Any], Any],
    actions: Sequence[Any],
    *,
    num_samples: int = 1000,
    seed: int | None = None,
) -> Array:
    """Computes what each action is worth on average, by samples of targets.

    All actions are judged by the same samples. Errors of the means fall with
    the square root of `num_samples`.

    Args:
        predictive: a `Predictive` of N rows, with draws.
        utility: a function of targets and one action, which returns the worth
            for each target. The targets are `[M, N]` for M samples of one
            number or label a row, else `[M, N, ..., k]`.
        actions: the A actions, such as numbers, that `utility` knows.
        num_samples: the number M of samples.
        seed: an integer, for the same samples each time.

    Returns:
        The mean worth, `[N, ..., A]`, in units of the utility.

    Raises:
        ValueError: if there are no actions, or `utility` returns another shape
            than that of its targets, or `num_samples` is not positive.

    Example:
    ```python
    orders = [0.0, 1.0, 2.0]            # sold at 3 each, bought at 1 each
    worth = tfpbnn.decisions.expected_utility(
        p, lambda y, order: 3 * np.minimum(y, order) - order, orders, seed=0
    )
    best = np.asarray(orders)[np.argmax(worth, axis=-1)]        # [N]
    ```
    """
    if not len(actions):
        raise ValueError(
            "`actions` must have one action or more. Received: none"
        )
    y = predictive.sample(num_samples, seed=seed)
    is_one = y.ndim == len(predictive.outputs_shape) + 1 and y.shape[-1] == 1
    y = y[..., 0] if is_one else y
    means = []
    for action in actions:
        worth = np.asarray(utility(y, action), np.float64)
        if worth.shape != y.shape and worth.shape != y.shape[:-1]:
            raise ValueError(
                "`utility` must return a number for each target that it is "
                f"given, {y.shape}. Received: the shape {worth.shape}"
            )
        means.append(np.mean(worth, axis=0))
    return np.stack(means, axis=-1)


def _probabilities(predictive: Any) -> tuple[Array, Array | None]:
    """Reads probabilities `[N, ..., K]`, and the mask of a prediction."""
    if isinstance(predictive, Predictive):
        if not predictive.likelihood.is_classification:
            raise TypeError(
                "`predictive` must be of labels for a table of costs. "
                "Received: a prediction of numbers. See `expected_utility`"
            )
        return predictive.summaries[0], predictive.mask
    p = np.asarray(predictive)
    data.check_numbers("`predictive`", p)
    if p.ndim < 2 or p.shape[-1] < 2:
        raise ValueError(
            "`predictive` must be a prediction, or probabilities of 2 or more "
            f"classes, `[N, K]`. Received: an array of shape {p.shape}"
        )
    check_probabilities("predictive", p)
    return p.astype(np.float64), None
