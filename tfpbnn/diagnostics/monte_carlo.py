"""Says how exact a prediction is, given its number of draws."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks
from tfpbnn.base.places import over_targets
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction.results import Predictive
from tfpbnn.prediction.results.classification import (
    class_probabilities,
    entropy,
    of_targets,
)
from tfpbnn.prediction.results.targets import scored


def monte_carlo_error(
    predictive: Any, quantity: str = "mean", y: Any = None
) -> Array:
    """Computes the standard error that comes from the number of draws.

    Another seed gives other numbers, about so far away; it falls with the
    square root of the number of draws. It says nothing of how good the
    posterior is. It is the jackknife over draws: each draw is left out once.

    Args:
        predictive: a `Predictive` with its draws.
        quantity: "mean" (for labels, the probabilities), "variance", "entropy"
            or "mutual_information" (of labels, in nats), or "nll" (the mean
            over rows, which needs `y`).
        y: the targets, one row for each predicted row, for "nll".

    Returns:
        `[N, ..., k]` for "mean" and "variance", in units and squared units of
        the targets; `[N, ...]` (of yes-or-no labels `[N, ..., k]`) for
        "entropy" and "mutual_information"; a number for "nll". NaN at places
        that the mask leaves out.

    Raises:
        TypeError: if `predictive` is not of one output.
        ValueError: if the quantity is not known for such a prediction, draws
            were not kept, there are fewer than two, or `y` is missing.

    Example:
    ```python
    p = tfpbnn.predict(model, x_test, num_samples=100)
    tfpbnn.diagnostics.monte_carlo_error(p, "mean")         # [N, k]
    tfpbnn.diagnostics.monte_carlo_error(p, "nll", y_test)  # a number
    ```

    Reference:
        [Efron and Stein, 1981](https://doi.org/10.1214/aos/1176345462)
    """
    if not isinstance(predictive, Predictive):
        raise TypeError(
            "`predictive` must be the prediction of one output. Received: "
            f"{type(predictive).__name__}. Of several outputs `predict` "
            "returns a dict of such"
        )
    known = _of_kind(predictive.likelihood)
    checks.one_of("quantity", quantity, [*known, "nll"])
    outputs = predictive.outputs  # says so if they were not kept
    if len(outputs) < 2:
        raise ValueError(
            "`predictive` must have 2 draws or more. Received: "
            f"{len(outputs)}, of draws={predictive.draws!r}"
        )
    if quantity == "nll" and y is None:
        raise ValueError("`y` must be the targets for the nll. Received: None")
    if predictive.likelihood.of_mixture is not None:
        return _of_predictions(predictive, quantity, y)
    if quantity == "nll":
        return _of_nll(predictive, y)

    def chunk(outputs: Tensor) -> Array:
        left_out = known[quantity](predictive.likelihood, outputs)
        return _jackknife(left_out)

    return _where_counted(predictive, predictive._by_rows(chunk))


def _where_counted(predictive: Predictive, found: Array) -> Array:
    if predictive.mask is None:
        return found
    return np.where(over_targets(predictive.mask, found), found, np.nan)


def draws_needed(
    predictive: Any,
    quantity: str = "mean",
    error: float = 0.01,
    *,
    y: Any = None,
    share: float = 0.95,
) -> int:
    """Estimates how many draws a wanted Monte Carlo error takes.

    Args:
        predictive: a `Predictive` with its draws; some 30 are enough to tell.
        quantity: as in `monte_carlo_error`.
        error: the standard error that is wanted, in units of the quantity.
        y: the targets, for "nll".
        share: the share of numbers (of rows and targets) for which the error
            must be no larger.

    Returns:
        A number of draws, 2 or more. Draws of a finite ensemble can't become
        more: for these it says how many members there should be.

    Raises:
        ValueError: as `monte_carlo_error`, or if `error` is not positive.

    Example:
    ```python
    p = tfpbnn.predict(model, x_test, num_samples=30)
    count = tfpbnn.diagnostics.draws_needed(p, "mean", error=0.05)
    p = tfpbnn.predict(model, x_test, num_samples=count)
    ```
    """
    checks.positive_number("error", error)
    checks.fraction("share", share)
    found = np.asarray(monte_carlo_error(predictive, quantity, y))
    largest = float(np.nanquantile(found, share))
    ratio = len(predictive.outputs) * (largest / error) ** 2
    return max(2, math.ceil(ratio - 1e-9))


# Of a likelihood and outputs [S, n, .., P], the values without each draw.
LeftOut = Callable[[Likelihood, Tensor], Array]


def _of_kind(likelihood: Likelihood) -> dict[str, LeftOut]:
    """Lists what there is of a kind of prediction, by name."""
    if likelihood.is_classification:
        return {
            "mean": _probabilities,
            "variance": _variance_of_labels,
            "entropy": _predictive_entropy,
            "mutual_information": _mutual_information,
        }
    return {"mean": _mean, "variance": _variance}


def _mean(likelihood: Likelihood, outputs: Tensor) -> Array:
    return _left_out(likelihood.marginals(outputs).mean().numpy())


def _variance(likelihood: Likelihood, outputs: Tensor) -> Array:
    marginals = likelihood.marginals(outputs)
    means = marginals.mean().numpy()
    # About a center, so that squares lose no digits.
    centered = means - means.mean(axis=0)
    epistemic = _left_out(centered**2) - _left_out(centered) ** 2
    variances = np.broadcast_to(marginals.variance().numpy(), means.shape)
    return epistemic + _left_out(variances)


def _probabilities(likelihood: Likelihood, outputs: Tensor) -> Array:
    p = class_probabilities(likelihood, outputs).numpy()
    return of_targets(likelihood, _left_out(p))


def _variance_of_labels(likelihood: Likelihood, outputs: Tensor) -> Array:
    p = _probabilities(likelihood, outputs)
    return p * (1 - p)


def _predictive_entropy(likelihood: Likelihood, outputs: Tensor) -> Array:
    return _entropy(_left_out(class_probabilities(likelihood, outputs).numpy()))


def _mutual_information(likelihood: Likelihood, outputs: Tensor) -> Array:
    p = class_probabilities(likelihood, outputs).numpy()
    return _entropy(_left_out(p)) - _left_out(_entropy(p))


def _of_predictions(predictive: Any, quantity: str, y: Any) -> Array:
    """Asks the prediction, once without each draw.

    A calibration that maps the mixture has no faster way.
    """
    of: dict[str, Callable[[Any], Any]] = {
        "mean": lambda p: p.mean,
        "variance": lambda p: p.variance,
        "entropy": lambda p: p.predictive_entropy,
        "mutual_information": lambda p: (
            p.predictive_entropy - p.expected_entropy
        ),
        "nll": lambda p: p.nll(y),
    }
    outputs, cls = predictive.outputs, type(predictive)
    each = (np.delete(outputs, s, axis=0) for s in range(len(outputs)))
    found = _jackknife(
        np.stack(
            [
                of[quantity](
                    cls(rest, predictive.likelihood, mask=predictive.mask)
                )
                for rest in each
            ]
        )
    )
    return found if quantity == "nll" else _where_counted(predictive, found)


def _of_nll(predictive: Any, y: Any) -> Array:
    p, y, *_ = scored(predictive, y)

    def chunk(outputs: Tensor, y: Tensor) -> Array:
        y = tf.broadcast_to(y, [outputs.shape[0], *y.shape])
        log_prob = p.likelihood.log_prob(y, outputs).numpy()
        return np.moveaxis(_left_out_of_logs(log_prob), 0, -1)

    found = p._by_rows(chunk, y)
    places = tuple(range(found.ndim - 1))
    return _jackknife(found.mean(axis=places))


def _left_out(draws: Array) -> Array:
    """Averages all draws but one, for each of `[S, ...]`."""
    return (draws.sum(axis=0) - draws) / (len(draws) - 1)


def _left_out_of_logs(logs: Array) -> Array:
    """Does what `_left_out` does for numbers that are given by logarithms."""
    largest = np.argmax(logs, axis=0)[np.newaxis]
    top = np.take_along_axis(logs, largest, axis=0)
    shares = np.exp(logs - top)
    with np.errstate(divide="ignore"):
        found = top + np.log(shares.sum(axis=0) - shares)
    # Without the largest nothing may be left of the others' digits.
    rest = np.array(logs)
    np.put_along_axis(rest, largest, -np.inf, axis=0)
    without = tf.reduce_logsumexp(rest, axis=0, keepdims=True).numpy()
    np.put_along_axis(found, largest, without, axis=0)
    return found - np.log(len(logs) - 1)


def _entropy(p: Array) -> Array:
    return entropy(tf.constant(p)).numpy()


def _jackknife(left_out: Array) -> Array:
    """Computes the standard error, from values without each of the draws."""
    return np.sqrt((len(left_out) - 1) * left_out.var(axis=0))
