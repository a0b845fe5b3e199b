"""Calibrators of labels that map the averaged probability of each class."""

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.calibration import steps
from tfpbnn.calibration.base import Calibrator, HeldOut, one_hot
from tfpbnn.likelihoods import Categorical
from tfpbnn.prediction.results.classification import of_targets

# Binnings that are less probable are left out of averages.
_LEAST_SHARE = 1e-10


class ClassMap(Calibrator):
    """A map of each class's probability, after draws are averaged over.

    Each class is fitted against all others, and the probabilities are then
    divided by their sum; independent labels (`Bernoulli`) have a map each. The
    label's epistemic entropy and variance keep their share of the total.
    """

    is_of_mixture = True
    # Whether the map goes in lines between its knots, or in steps.
    is_linear = False

    @abc.abstractmethod
    def _fit_class(
        self, p: Array, y: Array, weights: Array
    ) -> tuple[Array, Array]:
        """Fits one class: knots and levels `[M]` from probabilities `[n]`."""

    def _fit(self, likelihood: Any, data: HeldOut) -> dict[str, Array]:
        p = of_targets(likelihood, data.predictive.summaries[0])
        p = p.reshape(-1, p.shape[-1])
        is_one = isinstance(likelihood, Categorical)
        y = one_hot(likelihood, data.y, p.shape[-1])
        found = [
            self._fit_class(p[:, column], y[:, column], data.weights)
            for column in range(p.shape[-1])
        ]
        knots, levels = map(steps.padded, zip(*found, strict=True))
        # Laplace's rule for what never happened, so that nothing is impossible.
        count = np.sum(data.weights) ** 2 / np.sum(data.weights**2)
        least = 1 / (count + 2)
        return {
            "knots": knots,
            "levels": np.clip(levels, least, 1 - least),
            "is_one": np.array([is_one], np.float64),
        }

    def _probabilities(self, probabilities: Tensor) -> Tensor:
        knots = self._number("knots")
        if probabilities.shape[-1] != len(knots):
            raise ValueError(
                f"`{type(self).__name__}` must be used for as many classes as "
                f"it was fitted to, {len(knots)}. Received: "
                f"{probabilities.shape[-1]}"
            )
        function = steps.lines if self.is_linear else steps.steps
        found = function(probabilities, knots, self._number("levels"))
        if not self._number("is_one")[0]:
            return found
        return found / tf.reduce_sum(found, axis=-1, keepdims=True)


@registry.register("calibration")
class Isotonic(ClassMap):
    """Maps the probability of each class by a non-decreasing function.

    The function is the one of the least squared error, linear between knots, as
    that of scikit-learn. It can mend any monotone error, but needs a thousand
    rows or more. Levels stay 1 / (N + 2) away from 0 and 1.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3))
    labels = np.argmax(logits + rng.gumbel(size=(500, 3)), axis=-1)
    tfpbnn.calibration.Isotonic().fit_arrays(logits, labels)
    ```

    Reference:
        [Zadrozny and Elkan, 2002](https://doi.org/10.1145/775047.775151)
    """

    is_linear = True

    def _fit_class(
        self, p: Array, y: Array, weights: Array
    ) -> tuple[Array, Array]:
        return steps.isotonic(p, y, weights)


@registry.register("calibration")
class HistogramBinning(ClassMap):
    """Maps the probability of each class to its bin's share of labels.

    Args:
        num_bins: the most bins.
        strategy: "mass" for bins of as many rows each, or "width" for bins of
            equal width, of which empty ones take their middle.

    Raises:
        ValueError: if an argument is not as above.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3))
    labels = np.argmax(logits + rng.gumbel(size=(500, 3)), axis=-1)
    tfpbnn.calibration.HistogramBinning(10).fit_arrays(logits, labels)
    ```

    Reference:
        Zadrozny and Elkan, 2001, Obtaining calibrated probability estimates
        from decision trees and naive Bayesian classifiers
    """

    def __init__(self, num_bins: int = 15, strategy: str = "mass"):
        super().__init__()
        self.num_bins = checks.positive_integer("num_bins", num_bins)
        self.strategy = checks.one_of("strategy", strategy, ("mass", "width"))

    def _fit_class(
        self, p: Array, y: Array, weights: Array
    ) -> tuple[Array, Array]:
        if self.strategy == "mass":
            edges = edges_of_mass(p, weights, self.num_bins)
        else:
            edges = np.arange(self.num_bins) / self.num_bins
        total, hits = counts(p, y, weights, edges)
        middle = (edges + np.append(edges[1:], 1.0)) / 2
        shares = hits / np.where(total > 0, total, 1)
        return edges, np.where(total > 0, shares, middle)

    def get_options(self) -> Config:
        return {"num_bins": self.num_bins, "strategy": self.strategy}


@registry.register("calibration")
class BBQ(ClassMap):
    """Averages histogram binnings by how probable the labels are under each.

    Bayesian binning into quantiles: binnings of equal mass, from few bins to
    many, each with a Beta prior on the share of labels in a bin. A weight
    counts as so many rows.

    Args:
        range_factor: C, for numbers of bins from N^(1/3) / C to C N^(1/3), at
            most N / 2.

    Raises:
        ValueError: if `range_factor` is below 1.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3))
    labels = np.argmax(logits + rng.gumbel(size=(500, 3)), axis=-1)
    tfpbnn.calibration.BBQ().fit_arrays(logits, labels)
    ```

    Reference:
        [Naeini et al., 2015](https://doi.org/10.1609/aaai.v29i1.9602)
    """

    def __init__(self, range_factor: float = 10.0):
        super().__init__()
        fits = checks.number("a number of 1 or more", lambda v: 1 <= v < np.inf)
        self.range_factor = fits("range_factor", range_factor)

    def _fit_class(
        self, p: Array, y: Array, weights: Array
    ) -> tuple[Array, Array]:
        root = len(p) ** (1 / 3)
        fewest = max(1, int(root / self.range_factor))
        most = max(fewest, min(int(root * self.range_factor), len(p) // 2, 500))
        binnings = {
            tuple(edges_of_mass(p, weights, count))
            for count in range(fewest, most + 1)
        }
        found = [
            _scored(p, y, weights, np.array(edges))
            for edges in sorted(binnings, key=lambda edges: (len(edges), edges))
        ]
        scores = np.array([score for score, _, _ in found])
        shares = np.exp(scores - np.max(scores))
        shares = shares / np.sum(shares)
        # Those that say nothing would make files large.
        kept = shares > _LEAST_SHARE
        found = [
            one for one, is_kept in zip(found, kept, strict=True) if is_kept
        ]
        shares = shares[kept] / np.sum(shares[kept])
        knots = np.unique(np.concatenate([edges for _, edges, _ in found]))
        levels = sum(
            share * own[np.searchsorted(edges, knots, side="right") - 1]
            for share, (_, edges, own) in zip(shares, found, strict=True)
        )
        return knots, np.asarray(levels)

    def get_options(self) -> Config:
        return {"range_factor": self.range_factor}


def edges_of_mass(p: Array, weights: Array, num_bins: int) -> Array:
    """Finds the lower edges of bins of equal weight; the first one is 0.

    Edges are half-way between values; equal values are in one bin.
    """
    order = np.argsort(p, kind="stable")
    ordered, mass = p[order], np.cumsum(weights[order])
    wanted = np.arange(1, num_bins) / num_bins * mass[-1]
    # So many of the lowest rows are below each edge.
    below = np.searchsorted(mass, wanted * (1 - 1e-12)) + 1
    below = below[below < len(p)]
    edges = (ordered[below - 1] + ordered[below]) / 2
    edges = edges[ordered[below - 1] < ordered[below]]
    return np.concatenate([[0.0], np.unique(edges[edges > 0])])


def counts(
    p: Array, y: Array, weights: Array, edges: Array
) -> tuple[Array, Array]:
    """Counts the rows, and those with the label, in each bin `[M]`."""
    bins = np.searchsorted(edges, p, side="right") - 1
    total = np.bincount(bins, weights, len(edges))
    return total, np.bincount(bins, weights * y, len(edges))


def _scored(
    p: Array, y: Array, weights: Array, edges: Array
) -> tuple[float, Array, Array]:
    """Scores a binning: its log evidence, its edges, and its bins' levels."""
    total, hits = counts(p, y, weights, edges)
    middle = (edges + np.append(edges[1:], 1.0)) / 2
    prior = 2.0 / len(edges)
    yes, no = prior * middle, prior * (1 - middle)
    evidence = (
        len(edges) * _log_gamma(prior)
        - _log_gamma(total + prior)
        + _log_gamma(hits + yes)
        - _log_gamma(yes)
        + _log_gamma(total - hits + no)
        - _log_gamma(no)
    )
    return evidence, edges, (hits + yes) / (total + prior)


def _log_gamma(numbers: Any) -> float:
    return float(
        tf.reduce_sum(tf.math.lgamma(tf.constant(numbers, tf.float64)))
    )
