"""Chooses rows by the names of an acquisition and a selector."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpbnn import random
from tfpbnn.acquisition import (
    batches,
    diversity,
    optimization,
    reading,
    scores,
)
from tfpbnn.acquisition.batch_bald import batch_bald
from tfpbnn.base import checks
from tfpbnn.base.types import Array
from tfpbnn.prediction.results import Predictive

# From a prediction to a score for each row, `[N]`.
Acquisition = Callable[[Any], Array]

# A name that is added here can be asked for everywhere.
ACQUISITIONS: dict[str, Acquisition] = {
    "bald": scores.bald,
    "entropy": scores.entropy,
    "epistemic_variance": scores.epistemic_variance,
    "knowledge_gradient": optimization.knowledge_gradient,
    "least_confidence": scores.least_confidence,
    "margin": scores.margin,
    "mean_sd": scores.mean_sd,
    "ucb": optimization.ucb,
    "variation_ratios": scores.variation_ratios,
}


class Candidates(NamedTuple):
    """The rows to choose from.

    Attributes:
        predictive: their prediction, or draws.
        acquisition: what scores them.
        features: `[N, D]`, or None.
        known: the features of rows that have labels, or None.
    """

    predictive: Any
    acquisition: Acquisition
    features: Any = None
    known: Any = None

    @property
    def size(self) -> int:
        """The number N of rows."""
        given = self.predictive
        is_array = not isinstance(given, Predictive)
        return np.shape(given)[1] if is_array else len(given)


class Selector(NamedTuple):
    """A way to choose rows.

    Attributes:
        choose: a function of candidates, the number of rows and a seed.
        is_joint: whether rows are judged together, by draws that are functions.
        keys: where the rows of the highest keys are chosen, these as a function
            of scores and of standard Gumbel noise, `[n]` each; else None.
        is_blind: whether the keys are the same for all scores.
    """

    choose: Callable[[Candidates, int, int | None], Array]
    is_joint: bool = False
    keys: Callable[[Array, Array], Array] | None = None
    is_blind: bool = False


def _by_scores(
    function: Callable[..., Array], keys: Callable[[Array, Array], Array]
) -> Selector:
    return Selector(
        lambda rows, k, seed: function(
            rows.acquisition(rows.predictive), k, seed=seed
        ),
        keys=keys,
    )


def of_predictive(function: Callable[..., Array]) -> Selector:
    """Makes a selector of a function of a prediction, k and a seed."""
    return Selector(
        lambda rows, k, seed: function(rows.predictive, k, seed=seed),
        is_joint=True,
    )


def _at_random(rows: Candidates, k: int, seed: int | None) -> Array:
    some = np.flatnonzero(reading.counted(rows.predictive, rows.size))
    batches.check_size(k, len(some))
    return random.generator(seed).permutation(some)[:k]


def _top(values: Array, k: int, seed: int | None) -> Array:
    del seed
    return batches.top(values, k)


def _k_center(rows: Candidates, k: int, seed: int | None) -> Array:
    del seed  # no choice is left to chance
    if rows.features is None:
        return diversity.k_center(rows.predictive, k, known=rows.known)
    some = np.flatnonzero(reading.counted(rows.predictive, rows.size))
    features = np.asarray(rows.features)[some]
    return some[diversity.k_center(features, k, known=rows.known)]


def _badge(rows: Candidates, k: int, seed: int | None) -> Array:
    if rows.features is None:
        raise ValueError(
            '`features` must be given for selector="badge": the inputs of the '
            "last layer, `[N, D]`. Received: features=None"
        )
    return diversity.badge(rows.predictive, k, rows.features, seed=seed)


SELECTORS: dict[str, Selector] = {
    "badge": Selector(_badge),
    "batch_bald": of_predictive(batch_bald),
    "k_center": Selector(_k_center),
    "power": _by_scores(
        batches.power, lambda scores, noise: batches.log(scores) + noise
    ),
    "random": Selector(_at_random, keys=lambda _, noise: noise, is_blind=True),
    "softmax": _by_scores(batches.softmax, np.add),
    "thompson": of_predictive(optimization.thompson),
    "top": _by_scores(_top, lambda scores, _: scores),
}


def select(
    predictive: Any,
    k: int,
    acquisition: Any = "bald",
    selector: Any = "top",
    *,
    features: Any = None,
    known: Any = None,
    seed: int | None = None,
) -> Array:
    """Chooses the rows of a pool whose labels to ask for.

    An acquisition gives each row a score; a selector chooses rows, by the
    scores ("top", "power", "softmax") or by the prediction itself.

    Args:
        predictive: a `Predictive` of N rows, or draws `[S, N, K]`.
        k: the number of rows to choose.
        acquisition: "bald", "entropy", "epistemic_variance",
            "knowledge_gradient", "least_confidence", "margin", "mean_sd",
            "ucb", "variation_ratios"; or a function from a prediction to scores
            `[N]`, such as `functools.partial(ucb, beta=3.0)`. Selectors that go
            by no scores don't look at it.
        selector: "top", "power", "softmax", "random", "batch_bald", "k_center",
            "badge" or "thompson"; or a function `(predictive, k, seed=)` that
            returns indices.
        features: `[N, D]` for "badge", and for "k_center", which takes the
            predicted means without.
        known: for "k_center" the features of rows that have labels, `[M, D]`.
        seed: an integer, for the same rows each time.

    Returns:
        The indices of k different rows, `[k]`.

    Raises:
        TypeError, ValueError: if a name is unknown, or for the reasons of the
            functions of these names.

    Example:
    ```python
    rows = tfpbnn.acquisition.select(labels, 5, "bald", "power", seed=0)
    x_test[rows]                                    # to be labelled
    ```
    """
    score = acquisition_of(acquisition)
    rows = Candidates(predictive, score, features, known)
    return selector_of(selector).choose(rows, k, seed)


def acquisition_of(acquisition: Any) -> Acquisition:
    """Finds an acquisition by its name; a function stays."""
    if callable(acquisition):
        return acquisition
    checks.one_of("acquisition", acquisition, sorted(ACQUISITIONS))
    return ACQUISITIONS[acquisition]


def selector_of(selector: Any) -> Selector:
    """Finds a selector by its name, or makes one of a function."""
    if callable(selector):
        return of_predictive(selector)
    checks.one_of("selector", selector, sorted(SELECTORS))
    return SELECTORS[selector]
