"""Defines conformal predictors, whose sets cover as often as wanted."""

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import tensorflow as tf

from tfpbnn.base import checks
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array, Config, Tensor
from tfpbnn.calibration.base import check_prediction
from tfpbnn.calibration.conformal import requests
from tfpbnn.calibration.conformal.files import Saved
from tfpbnn.calibration.conformal.made_by import MadeBy
from tfpbnn.calibration.conformal.requests import Asked
from tfpbnn.calibration.conformal.scores import Scores, least_rows
from tfpbnn.prediction.results import Predictive
from tfpbnn.prediction.results.targets import scored, weights_of

ConformalT = TypeVar("ConformalT", bound="Conformal")
# Group of all rows, where there are no groups.
_ALL = "all"


class Conformal(Saved, abc.ABC):
    """Sets of targets with a coverage that holds for any model and any N.

    If held-out and new rows are exchangeable (as drawn from one population in
    no order), a share of `coverage` or more of new targets is inside, on
    average over held-out data and new rows. It is no promise for each row, nor
    for each kind of rows: see `groups`; and none if new rows are of another
    population, unless `sample_weight` says how they differ. Where rows have
    several places, or several targets, each is a case of its own.

    Attributes:
        coverage: that `fit` was given.
        needs_quantiles: whether it is made of quantiles of predictions.
    """

    needs_quantiles: ClassVar[bool] = False

    def __init__(self) -> None:
        self.coverage = math.nan
        self.scores: dict[str, list[Scores]] | None = None
        self.is_weighted = self.is_grouped = self.by_class = False
        # What new rows must bring, by name.
        self.asked: dict[str, Asked] = {}
        # None in files that do not say it.
        self.made_by: MadeBy | None = None

    @abc.abstractmethod
    def _scores(
        self, predictive: Predictive, y: Array, is_new: bool = False
    ) -> Array:
        """Computes how badly targets fit, `[n]`, or `[n, k]` if there are k.

        Args:
            predictive: the predictions of n places.
            y: their targets, aligned.
            is_new: whether they are new, rather than held out; random scores
                are then others.
        """

    @abc.abstractmethod
    def _check_kind(self, predictive: Any) -> None:
        """Raises if predictions are of another kind."""

    def _check_numbers(self, predictive: Predictive) -> None:
        """Raises if there are no scores of these predictions."""

    def _check(self, predictive: Predictive) -> None:
        """Raises if predictions are not such as those in `fit`."""
        check_prediction(predictive)
        self._check_kind(predictive)
        self._check_numbers(predictive)
        if self.made_by is not None:
            self.made_by.check(MadeBy.of(predictive))

    @abc.abstractmethod
    def _answers(
        self, predictive: Any, limits: Tensor, share: Tensor | None
    ) -> dict[str, Tensor]:
        """Makes `answers` of the largest scores inside, `[B, ..., k]`."""

    def answers(
        self, predictive: Any, given: Mapping[str, Tensor], share: Any = None
    ) -> dict[str, Tensor]:
        """Makes sets or intervals in a graph, for exports.

        Args:
            predictive: predictions of B rows in tensors: with a `likelihood`,
                `outputs_shape`, `mean`, `stddev`, and `interval(level)`.
            given: what the rows of the request bring, as `asks` names it.
            share: for randomized sets, random numbers `[B, ..., 1]`; None to
                take those that the request brings.

        Returns:
            Tensors by name: "sets" `[B, ..., K]`, of 1 and 0; or "lower" and
            "upper", `[B, ..., k]` each. They are NaN where a group is unknown,
            or a number is out of its range.
        """
        self._check_kind(predictive)
        if self.made_by is not None:
            self.made_by.check(MadeBy.of(predictive))
        limits, valid = requests.limits(self, predictive, given)
        if share is None and "uniforms" in given:
            share = given["uniforms"][..., tf.newaxis]
            inside = (share >= 0) & (share <= 1)
            valid = inside if valid is None else valid & inside
        found = self._answers(predictive, limits, share)
        if valid is None:
            return found
        nan = tf.constant(math.nan, predictive.mean.dtype)
        return {name: tf.where(valid, y, nan) for name, y in found.items()}

    def asks(self, with_uniforms: bool) -> dict[str, Asked]:
        """Says what each row of a request must bring, by name.

        Args:
            with_uniforms: whether random numbers are to come with the rows.

        Raises:
            ValueError: if it is not fitted, or to groups that can't be served.
        """
        self._fitted()
        found = dict(self.asked)
        if self.is_weighted:  # in files from before, these say nothing of it
            found.setdefault("sample_weight", Asked("float32", False))
        if self.is_grouped and not self.by_class:
            found.setdefault("groups", Asked("string", False))
        if "groups" in found and not found["groups"].dtype:
            raise ValueError(
                "`conformal` must be fitted to groups that are texts, whole "
                "numbers or booleans to be exported. Received: "
                f"{self!r}, fitted to the groups {sorted(self._fitted())[:5]}"
            )
        if with_uniforms and self.is_randomized:
            found["uniforms"] = Asked("float32", True)
        return found

    @property
    def is_randomized(self) -> bool:
        """Whether new rows need random numbers of their own."""
        return False

    def fit(
        self: ConformalT,
        predictive: Predictive,
        y: Any,
        coverage: float = 0.9,
        *,
        groups: Any = None,
        sample_weight: Any = None,
    ) -> ConformalT:
        """Scores held-out targets, which nothing was trained or calibrated on.

        Args:
            predictive: the predictions of N held-out rows.
            y: their targets or labels, one row for each predicted row.
            coverage: the wanted share of targets inside, between 0 and 1.
            groups: names or numbers of the rows' groups, `[N]`, for a coverage
                that holds within each (Mondrian). Of labels, "class" makes it
                hold for each label.
            sample_weight: for new rows of another population, how much more
                likely these rows are there, `[N]`; else None. Rows of weight 0
                and masked places don't count.

        Returns:
            The predictor itself.

        Raises:
            ValueError: if arguments don't fit, or if there are too few rows for
                the coverage, all in all or in a group.

        Reference:
            [Vovk et al., 2005](https://doi.org/10.1007/b106715); for weights
            [Tibshirani et al., 2019](https://arxiv.org/abs/1904.06019)
        """
        self.coverage = checks.open_fraction("coverage", coverage)
        self.made_by = None
        self._check(predictive)
        p, aligned, weights, counted = scored(predictive, y, sample_weight)
        places = predictive.outputs_shape[:-1]
        found = np.asarray(self._scores(p, aligned), np.float64)
        if not np.all(np.isfinite(found)):
            raise ValueError(
                "`predictive` must have finite predictions where targets "
                "count. Received: NaN or infinite ones"
            )
        shape = places if counted is None else (int(np.sum(counted)),)
        found = found.reshape((math.prod(shape), -1))
        names = self._names(groups, p, aligned, places, counted).ravel()
        self.is_weighted, self.is_grouped = (
            weights is not None,
            groups is not None,
        )
        self.by_class = isinstance(groups, str) and groups == "class"
        self.asked = {}
        if groups is not None and not self.by_class:
            self.asked["groups"] = Asked.of(groups)
        if sample_weight is not None:
            self.asked["sample_weight"] = Asked.of(sample_weight, "float32")
        weights = np.ones(len(found)) if weights is None else np.ravel(weights)
        self.scores = {
            str(name): [
                Scores.of(column[names == name], weights[names == name])
                for column in found.T
            ]
            for name in np.unique(names)
        }
        self._check_enough()
        self.made_by = MadeBy.of(predictive)
        return self

    def _names(
        self, groups: Any, p: Any, y: Array, places: Any, counted: Array | None
    ) -> Array:
        """Returns the group of each place that counts, as strings."""
        if groups is None:
            return np.full(y.shape[: len(p.outputs_shape) - 1], _ALL)
        if isinstance(groups, str) and groups == "class":
            return self._classes(p, y).astype(str)
        names = _grouped(groups, places)
        return names if counted is None else names[counted]

    def _classes(self, predictive: Any, y: Array) -> Array:
        raise ValueError(
            '`groups` must be an array; "class" is for labels. Received: '
            f"groups='class' for {type(self).__name__}"
        )

    def _check_enough(self) -> None:
        assert self.scores is not None
        least = least_rows(self.coverage)
        for name, columns in self.scores.items():
            count = len(columns[0].values)
            if not self.is_weighted and count < least:
                where = f" in the group {name!r}" if self.is_grouped else ""
                raise ValueError(
                    f"`y` must have {least} or more targets that count{where} "
                    f"for a coverage of {self.coverage}. Received: {count}"
                )

    def scores_of(self, predictive: Predictive, y: Any) -> Array:
        """Computes the scores of new rows' targets, as sets compare them.

        Args:
            predictive: the predictions of N rows.
            y: their targets or labels.

        Returns:
            The scores, `[n, k]`, of the n places that count.
        """
        self._check(predictive)
        p, y, _, _ = scored(predictive, y)
        found = np.asarray(self._scores(p, y, is_new=True), np.float64)
        places = len(p.outputs_shape) - 1
        return found.reshape((math.prod(p.outputs_shape[:places]), -1))

    def thresholds(
        self,
        predictive: Predictive,
        groups: Any = None,
        sample_weight: Any = None,
        coverage: Any = None,
    ) -> Array:
        """Finds the largest score that is inside, for new rows.

        Args:
            predictive: the predictions of N new rows.
            groups: the groups of these rows, if there were some in `fit`.
            sample_weight: the weights of these rows, if there were some in
                `fit`.
            coverage: another coverage than that of `fit`.

        Returns:
            `[N, ..., k]`; of labels with thresholds by class `[N, ..., K]`.
        """
        scores = self._fitted()
        self._check(predictive)
        places = predictive.outputs_shape[:-1]
        if coverage is None:
            coverage = self.coverage
        needs = self.is_grouped and not self.by_class
        if needs != (groups is not None):
            raise _as_in_fit("groups", needs, groups)
        if self.is_weighted != (sample_weight is not None):
            raise _as_in_fit("sample_weight", self.is_weighted, sample_weight)
        weights: Any = weights_of(sample_weight, places)
        weights = np.ones(places) if weights is None else weights
        if self.by_class:
            return self._by_class(predictive, coverage, weights)
        names = np.full(places, _ALL)
        if groups is not None:
            names = _grouped(groups, places)
        if unknown := sorted(set(np.unique(names).tolist()) - set(scores)):
            raise ValueError(
                f"`groups` must be some of those in `fit`, {sorted(scores)}. "
                f"Received: {unknown[:5]}"
            )
        size = len(next(iter(scores.values())))
        found = np.empty((*places, size))
        for name, columns in scores.items():
            rows = names == name
            for target, column in enumerate(columns):
                found[rows, target] = column.threshold(coverage, weights[rows])
        return found

    def _by_class(
        self, predictive: Predictive, coverage: Any, weights: Array
    ) -> Array:
        """Finds a threshold for each class; infinite for those never seen."""
        scores = self._fitted()
        size = predictive.mean.shape[-1]
        found = np.full((*weights.shape, max(size, 2)), np.inf)
        for name, (column,) in scores.items():
            found[..., int(name)] = column.threshold(coverage, weights)
        return found

    def _fitted(self) -> dict[str, list[Scores]]:
        if self.scores is None:
            raise ValueError(
                f"`{type(self).__name__}` must be fitted on held-out data "
                "first: `fit(predictive, y)`. Received: one that is not"
            )
        return self.scores

    def get_options(self) -> Config:
        """Returns the arguments of the constructor."""
        return {}

    def get_config(self) -> Config:
        if self.scores is None:
            return self.get_options()
        fitted = {
            "coverage": self.coverage,
            "is_weighted": self.is_weighted,
            "is_grouped": self.is_grouped,
            "by_class": self.by_class,
            "asked": {name: list(one) for name, one in self.asked.items()},
            "made_by": self.made_by and self.made_by._asdict(),
            "scores": {
                name: [[part.tolist() for part in one] for one in columns]
                for name, columns in self.scores.items()
            },
        }
        return self.get_options() | {"fitted": fitted}

    @classmethod
    def from_config(cls: type[ConformalT], config: Config) -> ConformalT:
        config = dict(config)
        fitted = config.pop("fitted", None)
        found = cls(**config)
        if fitted is not None:
            found.coverage = fitted["coverage"]
            found.is_weighted = fitted["is_weighted"]
            found.is_grouped = fitted["is_grouped"]
            found.by_class = fitted["by_class"]
            found.asked = {
                name: Asked(*one)
                for name, one in fitted.get("asked", {}).items()
            }
            if (known := fitted.get("made_by")) is not None:
                found.made_by = MadeBy(**known)
            found.scores = {
                name: [Scores(*map(np.asarray, one)) for one in columns]
                for name, columns in fitted["scores"].items()
            }
        return found

    def __repr__(self) -> str:
        options = (f"{k}={v!r}" for k, v in self.get_options().items())
        return f"{type(self).__name__}({', '.join(options)})"


def _grouped(groups: Any, places: tuple[int, ...]) -> Array:
    names = np.asarray(groups)
    fits = names.ndim > 0 and len(names) == places[0]
    spread = over_places(names, places) if fits else None
    if spread is None:
        raise ValueError(
            "`groups` must be one name or number for each row, or for each "
            f"place of the outputs, {places}. Received: groups of shape "
            f"{names.shape}"
        )
    return np.broadcast_to(spread, places).astype(str)


def _as_in_fit(name: str, is_needed: bool, given: Any) -> ValueError:
    must = "given for new rows too" if is_needed else "None"
    had = "had some" if is_needed else "had none"
    shown = None if given is None else type(given).__name__
    return ValueError(
        f"`{name}` must be {must}, since `fit` {had}. Received: {name}={shown}"
    )
