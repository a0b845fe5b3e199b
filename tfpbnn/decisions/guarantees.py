"""Finds thresholds of uncertainty with guarantees that hold for few rows too.

A case is accepted if its uncertainty is below the threshold, and not at it: so
what is accepted of the held-out cases is, given the threshold, a sample of what
will be. Losses are 0 or 1.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array
from tfpbnn.calibration.conformal.base import Scores

# How many thresholds are tested for the risk among what is accepted.
_TESTED = 20
_ROUNDING = 1 + 1e-12


class Cases(NamedTuple):
    """Held-out cases, by ascending uncertainty.

    Attributes:
        score: the uncertainties, `[n]`.
        loss: 0 or 1 each, `[n]`.
        weight: how much more likely each is among new cases, `[n]`.
    """

    score: Array
    loss: Array
    weight: Array

    @classmethod
    def of(cls, score: Array, loss: Array, weight: Array) -> "Cases":
        """Orders cases."""
        order = np.argsort(score, kind="stable")
        return cls(score[order], loss[order], weight[order])

    @property
    def is_weighted(self) -> bool:
        """Whether cases weigh differently."""
        return bool(np.ptp(self.weight) > 0)

    def thresholds(self) -> tuple[Array, Array]:
        """Lists thresholds, and how many cases are below each."""
        found: Array = np.append(np.unique(self.score), np.inf)
        counts = np.asarray(np.searchsorted(self.score, found))
        return found, counts

    def below(self, counts: Array, values: Array) -> Array:
        """Sums values over the first cases, as many as `counts` says."""
        return np.append(0.0, np.cumsum(values))[counts]


def for_coverage(cases: Cases, coverage: float) -> float:
    """Finds the least threshold that accepts a share of new cases.

    The expected share is `coverage` or more, over held-out and new cases.
    """
    scores = Scores.of(cases.score, cases.weight)
    last = scores.threshold(coverage, np.max(cases.weight))
    return float(np.nextafter(last, np.inf))


def for_overall_risk(cases: Cases, risk: float) -> float:
    """Finds the greatest threshold of a mean loss, deferred cases losing none.

    The expected loss of a new case is at most `risk` (conformal risk control,
    since that loss grows with the threshold). The new case is taken to be one
    of the greatest weight, and lost.
    """
    found, counts = cases.thresholds()
    most = float(np.max(cases.weight))
    lost = cases.below(counts, cases.weight * cases.loss) + most
    fits = lost <= risk * (np.sum(cases.weight) + most) * _ROUNDING
    return float(found[fits][-1]) if np.any(fits) else -np.inf


def for_accepted_risk(cases: Cases, risk: float, confidence: float) -> float:
    """Finds the greatest threshold of a mean loss among what is accepted.

    That risk is at most `risk` with probability `confidence` over held-out
    cases. It may fall and rise with the threshold, so thresholds are tested
    (Learn then Test): the same ranks of uncertainties each time, with a
    Bonferroni correction. Given a case's uncertainty, cases below it are an
    independent sample of what the threshold there accepts, so each test is
    exact.
    """
    size = len(cases.score)
    ranks = np.unique(-(-size * np.arange(1, _TESTED) // _TESTED))
    ranks = ranks[ranks < size]
    tested: Array = np.append(cases.score[ranks], np.inf)
    counts = np.asarray(np.searchsorted(cases.score, tested))
    # Of weights up to one, a loss beyond the risk has a mean beyond it here.
    share = cases.weight / np.max(cases.weight)
    values = risk + share * (cases.loss - risk)
    sums = cases.below(counts, values)
    p_values = (_bounded if cases.is_weighted else _binomial)(
        counts, sums, risk
    )
    sure = (counts > 0) & (p_values <= (1 - confidence) / _TESTED)
    return float(np.max(tested[sure], initial=-np.inf))


def for_cost(
    cases: Cases, cost_of_error: float, cost_of_deferral: float
) -> tuple[float, float]:
    """Finds the threshold of the least mean cost, and that cost."""
    found, counts = cases.thresholds()
    total = float(np.sum(cases.weight))
    errors = cases.below(counts, cases.weight * cases.loss) / total
    accepted = cases.below(counts, cases.weight) / total
    cost = cost_of_error * errors + cost_of_deferral * (1 - accepted)
    best = int(np.argmin(cost))
    return float(found[best]), float(cost[best])


def cost_margin(size: int, confidence: float) -> float:
    """Computes how far two distribution functions may be off, at once.

    It holds for all thresholds (Dvoretzky, Kiefer, Wolfowitz and Massart): for
    the share of cases below one, and for the share of errors below one.
    """
    return float(np.sqrt(np.log(2 / (1 - confidence)) / (2 * size)))


def _binomial(counts: Array, errors: Array, risk: float) -> Array:
    """Computes the chance of so few errors, or fewer, at this risk."""
    errors = np.round(errors)
    fewer = np.maximum(counts - errors, 0.5)  # where all are errors: any number
    wide = tf.float64
    found = tf.math.betainc(
        tf.constant(fewer, wide),
        tf.constant(errors + 1, wide),
        tf.constant(1 - risk, wide),
    )
    return np.where(errors < counts, found.numpy(), 1.0)


def _bounded(counts: Array, sums: Array, risk: float) -> Array:
    """Computes the p-values of Hoeffding and Bentkus, for numbers in [0, 1]."""
    mean = np.clip(sums / np.maximum(counts, 1), 1e-300, risk)
    hoeffding = mean * np.log(mean / risk)
    hoeffding += (1 - mean) * np.log((1 - mean) / (1 - risk))
    bentkus = np.e * _binomial(counts, np.ceil(sums), risk)
    return np.minimum(np.exp(-counts * hoeffding), bentkus)
