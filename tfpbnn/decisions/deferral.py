"""Hands the cases of which a model is unsure to someone else."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tfpbnn import metrics
from tfpbnn.base import checks, registry
from tfpbnn.base.types import Array, Config
from tfpbnn.calibration.conformal.files import Saved, load
from tfpbnn.decisions import guarantees
from tfpbnn.decisions.guarantees import Cases
from tfpbnn.metrics.losses import losses
from tfpbnn.prediction.results import Predictive

__all__ = ["Decisions", "DeferralPolicy", "load"]

# The names of the epistemic and the aleatoric part, for labels and numbers.
_PARTS = {
    True: ("mutual_information", "expected_entropy"),
    False: ("epistemic_variance", "aleatoric_variance"),
}
_SHARES = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Which cases to accept, and why not the others.

    The arrays are `[N, ...]` for places with one label each, or `[N, ..., k]`
    for k numbers, or k yes-or-no labels.

    Attributes:
        accept: whether the prediction is to be used; False at places that the
            mask leaves out.
        uncertainty: what was compared with the threshold; NaN at places that
            the mask leaves out.
        epistemic: the part that more data would take away: in nats of labels,
            as a standard deviation of numbers.
        aleatoric: the part that stays, in the same units.
        unfamiliar: whether the epistemic part is the more unusual one.
        threshold: that of the policy.
    """

    accept: Array
    uncertainty: Array
    epistemic: Array
    aleatoric: Array
    unfamiliar: Array
    threshold: float

    @property
    def reasons(self) -> Array:
        """A sentence for each case, as an array of strings."""
        each = map(
            self._reason,
            *(np.ravel(a) for a in (self.accept, self.uncertainty)),
            *(np.ravel(a) for a in (self.epistemic, self.aleatoric)),
            np.ravel(self.unfamiliar),
        )
        return np.asarray(list(each), object).reshape(self.accept.shape)

    def _reason(self, accept: bool, value: float, *parts: float) -> str:
        if accept:
            return f"accepted: {value:.3g} is below {self.threshold:.3g}"
        if np.isnan(value):
            return "left out by the mask"
        epistemic, aleatoric, unfamiliar = parts
        if unfamiliar:
            why = (
                f"unfamiliar input (epistemic uncertainty {epistemic:.3g}): "
                "labels of cases like it would help"
            )
        else:
            why = (
                f"ambiguous data (aleatoric uncertainty {aleatoric:.3g}): more "
                "data would not help, another measurement may"
            )
        return f"deferred: {value:.3g} is not below {self.threshold:.3g}; {why}"


@registry.register("decisions")
class DeferralPolicy(Saved):
    """Accepts a prediction if its uncertainty is below a threshold.

    The threshold is found on held-out cases that nothing was trained on. What
    is promised holds if new cases are drawn as these were, and independently;
    `guarantee` says it in words.

    Args:
        by: the name of an uncertainty in `tfpbnn.metrics.uncertainty`; None for
            one minus the probability of the top class, or for the variance.
        tolerance: of numbers, how far the mean may be off before it counts as
            an error, in units of the targets; each target is a case of its own.
            None for labels.

    Attributes:
        threshold: that of the uncertainty; minus infinity defers all cases.
        guarantee: what is promised, in words.
        coverage: the share of held-out cases that is accepted.
        risk: the share of errors among these; NaN if there are none.

    Example:
    ```python
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(1, 2000, 3))
    y = np.argmax(logits[0] + rng.gumbel(size=(2000, 3)), axis=-1)
    p = tfpbnn.prediction.ClassificationPredictive(
        logits, tfpbnn.likelihoods.Categorical()
    )
    policy = tfpbnn.decisions.DeferralPolicy().fit(p, y, target_risk=0.05)
    policy.coverage, policy.guarantee
    policy.decide(p).accept                         # booleans, [2000]
    ```

    Reference:
        [Angelopoulos et al., 2024](https://arxiv.org/abs/2208.02814) (conformal
        risk control); [Angelopoulos et al.,
        2021](https://arxiv.org/abs/2110.01052) (Learn then Test)
    """

    def __init__(self, by: str | None = None, tolerance: float | None = None):
        self.by = by
        self.tolerance = checks.non_negative.optional("tolerance", tolerance)
        self.threshold = self.coverage = self.risk = math.nan
        self.guarantee = ""
        self._reference: dict[str, list[float]] = {}

    def fit(
        self,
        predictive: Predictive,
        y: Any,
        *,
        target_risk: float | None = None,
        of: str = "accepted",
        target_coverage: float | None = None,
        cost_of_error: float | None = None,
        cost_of_deferral: float | None = None,
        confidence: float = 0.9,
        sample_weight: Any = None,
    ) -> "DeferralPolicy":
        """Finds the threshold, for one of three aims.

        Args:
            predictive: the predictions of N held-out rows.
            y: their labels or targets.
            target_risk: the share of errors that is allowed.
            of: what that is the share of. "accepted": of the cases that are
                accepted; it holds with probability `confidence` over held-out
                cases. "all": of all cases, where deferred ones are no errors;
                it holds on average over held-out cases.
            target_coverage: the share of cases to accept, on average over
                held-out cases.
            cost_of_error: what a wrong prediction costs that was accepted.
            cost_of_deferral: what it costs to defer a case, in the same units.
                The threshold is that of the least cost on held-out cases; what
                new cases cost is bounded with probability `confidence`.
            confidence: between 0 and 1.
            sample_weight: for new cases of another population, how much more
                likely held-out ones are there, `[N]`, which must not be
                exceeded by new cases; else None. Rows of weight 0 and masked
                places don't count.

        Returns:
            The policy itself. If too few cases are held out to promise the
            aim, a warning says so, and all cases are deferred.

        Raises:
            ValueError: if not one aim is given, numbers are out of range, or
                targets don't fit.
        """
        costs = cost_of_error, cost_of_deferral
        has_costs = costs != (None, None)
        aims = [target_risk is not None, target_coverage is not None, has_costs]
        if sum(aims) != 1:
            raise ValueError(
                "`target_risk`, `target_coverage`, or both `cost_of_error` and "
                "`cost_of_deferral` must be given. Received: "
                f"target_risk={target_risk}, target_coverage={target_coverage},"
                f" cost_of_error={costs[0]}, cost_of_deferral={costs[1]}"
            )
        checks.one_of("of", of, ["accepted", "all"])
        checks.open_fraction("confidence", confidence)
        cases, is_one_each = self._cases(predictive, y, sample_weight)
        if target_risk is not None:
            checks.open_fraction("target_risk", target_risk)
            words = self._for_risk(cases, target_risk, of, confidence)
        elif target_coverage is not None:
            checks.open_fraction("target_coverage", target_coverage)
            self.threshold = guarantees.for_coverage(cases, target_coverage)
            words = (
                f"{target_coverage:.3g} or more of new cases are accepted, on "
                "average over held-out cases"
            )
        else:
            words = self._for_costs(cases, *costs, confidence)
        self._report(cases, words, is_one_each)
        self._reference = {
            name: _quantiles(metrics.uncertainty(predictive, name))
            for name in _PARTS[predictive.likelihood.is_classification]
        }
        return self

    def _cases(
        self, predictive: Predictive, y: Any, sample_weight: Any
    ) -> tuple[Cases, bool]:
        """Reads held-out cases, and whether each is of a row of its own."""
        is_labels = predictive.likelihood.is_classification
        if is_labels == (self.tolerance is not None):
            raise ValueError(
                "`tolerance` must be given for predictions of numbers, and for "
                f"these alone. Received: tolerance={self.tolerance}, for the "
                f"likelihood {predictive.likelihood!r}"
            )
        loss = "error" if is_labels else "absolute_error"
        read = losses(y, predictive, loss, self.by, sample_weight)
        wrong = read.loss > (self.tolerance or 0.0)
        cases = Cases.of(read.score, wrong * 1.0, np.ravel(read.rows.weights))
        rows = np.ravel(read.rows.row)
        return cases, len(np.unique(rows)) == len(cases.score)

    def _for_risk(
        self, cases: Cases, risk: float, of: str, confidence: float
    ) -> str:
        if of == "all":
            self.threshold = guarantees.for_overall_risk(cases, risk)
            return (
                f"at most {risk:.3g} of new cases are accepted and wrong, on "
                "average over held-out cases"
            )
        self.threshold = guarantees.for_accepted_risk(cases, risk, confidence)
        return (
            f"at most {risk:.3g} of the new cases that are accepted are wrong, "
            f"with probability {confidence:.3g} over held-out cases"
        )

    def _for_costs(
        self, cases: Cases, error: Any, deferral: Any, confidence: float
    ) -> str:
        error = checks.non_negative("cost_of_error", error)
        deferral = checks.non_negative("cost_of_deferral", deferral)
        self.threshold, cost = guarantees.for_cost(cases, error, deferral)
        found = f"a case costs {cost:.3g} on average over held-out cases"
        if cases.is_weighted:
            return f"{found}; nothing is promised where cases have weights"
        margin = guarantees.cost_margin(len(cases.score), confidence)
        most = min(cost + (error + deferral) * margin, max(error, deferral))
        return (
            f"{found}, and of new cases at most {most:.3g} with probability "
            f"{confidence:.3g}"
        )

    def _report(self, cases: Cases, words: str, is_one_each: bool) -> None:
        """Sets what held-out cases say, and warns if all are deferred."""
        accepted = (cases.score < self.threshold) * cases.weight
        self.coverage = float(np.sum(accepted) / np.sum(cases.weight))
        wrong = float(np.sum(accepted * cases.loss))
        total = float(np.sum(accepted))
        self.risk = wrong / total if total else math.nan
        conditions = "if new cases are drawn as held-out ones were"
        if not is_one_each:
            conditions += ", and places of a row as those of other rows"
        self.guarantee = f"{words[0].upper()}{words[1:]}, {conditions}."
        if np.isneginf(self.threshold):
            warnings.warn(
                f"{len(cases.score)} held-out cases are too few, or too often "
                "wrong, for a threshold with this guarantee: all cases are "
                "deferred",
                stacklevel=3,
            )

    def decide(self, predictive: Predictive) -> Decisions:
        """Decides which predictions to accept.

        Args:
            predictive: the predictions of N new rows, of the same kind.

        Returns:
            The `Decisions`.

        Raises:
            ValueError: if the policy is not fitted, or the predictions are of
                another kind.
        """
        is_labels = predictive.likelihood.is_classification
        names = _PARTS[is_labels]
        if set(self._reference) != set(names):
            kind = "fitted" if not self._reference else "of the same kind"
            raise ValueError(
                f"`DeferralPolicy` must be {kind}: `fit(predictive, y, ...)` "
                f"on held-out cases first. Received: {predictive.likelihood!r}"
            )
        value = metrics.uncertainty(predictive, self.by)
        parts = [metrics.uncertainty(predictive, name) for name in names]
        unusual = [
            _unusual(part, self._reference[name])
            for part, name in zip(parts, names, strict=True)
        ]
        # Of numbers as standard deviations.
        in_units: Callable[[Array], Array] = (
            np.asarray if is_labels else np.sqrt
        )
        with np.errstate(invalid="ignore"):
            accept = value < self.threshold
        return Decisions(
            accept,
            value,
            in_units(parts[0]),
            in_units(parts[1]),
            unusual[0] > unusual[1],
            self.threshold,
        )

    def get_config(self) -> Config:
        return {
            "by": self.by,
            "tolerance": self.tolerance,
            "fitted": {
                "threshold": self.threshold,
                "coverage": self.coverage,
                "risk": self.risk,
                "guarantee": self.guarantee,
                "reference": self._reference,
            },
        }

    @classmethod
    def from_config(cls, config: Config) -> "DeferralPolicy":
        config = dict(config)
        fitted = config.pop("fitted")
        found = cls(**config)
        found.threshold, found.guarantee = (
            fitted["threshold"],
            fitted["guarantee"],
        )
        found.coverage, found.risk = fitted["coverage"], fitted["risk"]
        found._reference = fitted["reference"]
        return found

    def __repr__(self) -> str:
        return (
            f"DeferralPolicy(by={self.by!r}, tolerance={self.tolerance}), "
            f"threshold {self.threshold:.4g}"
        )


def _quantiles(values: Array) -> list[float]:
    known = values[np.isfinite(values)]
    return np.quantile(known, _SHARES).tolist() if known.size else [0.0]


def _unusual(values: Array, reference: list[float]) -> Array:
    """Ranks values among held-out ones, from 0 to 1; above 1 beyond them."""
    rank = np.searchsorted(reference, values) / len(reference)
    most = max(reference[-1], np.finfo(np.float64).tiny)
    return np.where(values > most, values / most, rank)
