"""Defines calibrators: maps of predictions that are fitted on held-out data."""

import abc
import hashlib
import json
from typing import Any, ClassVar, NamedTuple, TypeVar

import keras
import numpy as np

from tfpbnn.base.types import Array, Config
from tfpbnn.likelihoods import Categorical, Likelihood, Normal
from tfpbnn.likelihoods.recalibration import Recalibration
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    Predictive,
    RegressionPredictive,
)
from tfpbnn.prediction.results.targets import scored

CalibratorT = TypeVar("CalibratorT", bound="Calibrator")


class HeldOut(NamedTuple):
    """Predictions of places that count, with what came true.

    Attributes:
        predictive: the prediction of n places.
        outputs: its outputs at each draw, `[S, n, P]`.
        y: the targets, aligned with the outputs.
        weights: one for each place, `[n]`.
    """

    predictive: Any
    outputs: Array
    y: Array
    weights: Array


class Calibrator(Recalibration):
    """A map that is fitted to predictions and what came true.

    Attributes:
        fitted: what `fit` has found, arrays by name; None before.
        over: the calibrator of the predictions that it was fitted to, whose map
            comes first; None if those were of a raw model.
    """

    # What it is for, as in errors.
    targets: ClassVar[str] = "labels"

    def __init__(self) -> None:
        self.fitted: dict[str, Array] | None = None

    @abc.abstractmethod
    def _fit(self, likelihood: Any, data: HeldOut) -> dict[str, Array]:
        """Finds the map's numbers."""

    def fit(
        self: CalibratorT,
        predictive: Predictive,
        y: Any,
        sample_weight: Any = None,
    ) -> CalibratorT:
        """Fits the map to predictions of rows that no training has seen.

        Args:
            predictive: the predictions of N held-out rows, with draws.
            y: their targets or labels, one row for each predicted row.
            sample_weight: the weights of rows `[N]` or of places `[N, ...]`.
                Places that are masked, ignored or of weight 0 don't count.

        Returns:
            The calibrator itself.

        Raises:
            ValueError: if the calibrator is for other targets; if it acts on
                each draw, and the prediction is of a calibrator of the mixture;
                if targets don't fit, or are too few or too alike to tell the
                map.
        """
        check_prediction(predictive)
        likelihood = predictive.likelihood
        self._check_kind(likelihood)
        self._check_below(likelihood.recalibration)
        p, y, weights, _ = scored(predictive, y, sample_weight)
        outputs = p.outputs
        if not np.all(np.isfinite(outputs)):
            raise ValueError(
                "`predictive` must have finite outputs at places that count. "
                "Received: NaN or infinite ones"
            )
        places = outputs.ndim - 2
        flat = (-1, *y.shape[places:])
        weights = np.ones(outputs.shape[1:-1]) if weights is None else weights
        data = HeldOut(
            p,
            outputs.reshape(len(outputs), -1, outputs.shape[-1]),
            np.asarray(y).reshape(flat),
            np.ravel(weights),
        )
        self.fitted = self._fit(likelihood, data)
        self.over = likelihood.recalibration
        return self

    def fit_arrays(
        self: CalibratorT,
        outputs: Any,
        y: Any,
        sample_weight: Any = None,
        likelihood: Likelihood | None = None,
    ) -> CalibratorT:
        """Fits the map to a model's outputs, such as logits.

        Args:
            outputs: the outputs `[N, P]`, or `[S, N, ..., P]` at S draws.
            y, sample_weight: as in `fit`.
            likelihood: what the outputs mean; None for logits of classes, or
                for calibrators of numbers a Normal.

        Returns:
            The calibrator itself.

        Raises:
            ValueError: for the reasons of `fit`; if the outputs are
                probabilities where logits are meant, or the other way around.
        """
        predictive = self._predictive(outputs, likelihood)
        if likelihood is None and self.targets == "labels":
            _check_logits(predictive.outputs)
        predictive.likelihood.check_outputs(predictive.outputs)
        return self.fit(predictive, y, sample_weight)

    def transform(self, predictive: Predictive) -> Any:
        """Calibrates a prediction.

        Args:
            predictive: a prediction with draws, of the kind it was fitted on;
                raw, or calibrated by what this one was fitted over.

        Returns:
            A prediction of the same kind, in which probabilities, entropies,
            intervals, scores and samples are the calibrated ones.

        Raises:
            ValueError: if the calibrator is not fitted or does not fit, or if
                the prediction is calibrated by another one.
        """
        check_prediction(predictive)
        self._check_over(predictive.likelihood.recalibration)
        likelihood = predictive.likelihood.recalibrated(self)
        return type(predictive)(
            predictive.outputs, likelihood, predictive.draws, predictive.mask
        )

    def _predictive(self, outputs: Any, likelihood: Any) -> Predictive:
        outputs = np.asarray(outputs)
        if likelihood is None:
            is_labels = self.targets == "labels"
            likelihood = Categorical() if is_labels else Normal()
        if outputs.ndim == 2:
            outputs = outputs[np.newaxis]
        is_labels = likelihood.is_classification
        kind = ClassificationPredictive if is_labels else RegressionPredictive
        return kind(outputs, likelihood)

    def copy(self: CalibratorT) -> CalibratorT:
        """Makes a calibrator with the same options that is not fitted."""
        return type(self)(**self.get_options())

    def check(self, likelihood: Any) -> None:
        self._check_kind(likelihood)
        if self.fitted is None:
            raise ValueError(
                f"`{type(self).__name__}` must be fitted on held-out data "
                "first: `fit(predictive, y)`. Received: one that is not"
            )

    def _check_kind(self, likelihood: Any) -> None:
        is_labels = likelihood.is_classification
        if is_labels != (self.targets == "labels"):
            raise ValueError(
                f"`{type(self).__name__}` must be used for predictions of "
                f"{self.targets}. Received: the likelihood {likelihood!r}"
            )

    def _check_below(self, below: Recalibration | None) -> None:
        """Raises if it can't be fitted over another calibrator."""
        is_mapped = below is not None and below.is_of_mixture
        if is_mapped and not self.is_of_mixture:
            raise ValueError(
                f"`{type(self).__name__}` must be fitted before calibrators of "
                "the mixture over draws, since it maps each draw. Received: a "
                f"prediction calibrated by {below!r}. Fit it to the raw "
                "prediction, of likelihood.recalibrated(None), and the other "
                "one over it"
            )

    def _check_over(self, given: Recalibration | None) -> None:
        """Raises if predictions are of another calibrator than in `fit`."""
        if given is not None and digest(given) != digest(self.over):
            had = "none" if self.over is None else repr(self.over)
            raise ValueError(
                "`predictive` must be raw, or calibrated as that in `fit` was. "
                f"Received: one calibrated by {given!r}, where that in `fit` "
                f"had {had}. Use likelihood.recalibrated(None) to take it away"
            )

    def _number(self, name: str) -> Array:
        """Returns what was fitted, by name."""
        if self.fitted is None:
            raise ValueError(
                f"`{type(self).__name__}` must be fitted to have `{name}`. "
                "Received: one that is not"
            )
        return self.fitted[name]

    def get_options(self) -> Config:
        """Returns the arguments of the constructor."""
        return {}

    def get_config(self) -> Config:
        if self.fitted is None:
            return self.get_options()
        found = {name: a.tolist() for name, a in self.fitted.items()}
        config = self.get_options() | {"fitted": found}
        if self.over is not None:
            config["over"] = keras.saving.serialize_keras_object(self.over)
        return config

    @classmethod
    def from_config(cls: type[CalibratorT], config: Config) -> CalibratorT:
        config = dict(config)
        fitted, over = config.pop("fitted", None), config.pop("over", None)
        calibrator = cls(**config)
        if over is not None:
            calibrator.over = keras.saving.deserialize_keras_object(over)
        if fitted is not None:
            calibrator.fitted = {
                name: np.asarray(numbers, np.float64)
                for name, numbers in fitted.items()
            }
        return calibrator

    def __repr__(self) -> str:
        options = (f"{k}={v!r}" for k, v in self.get_options().items())
        words = f"{type(self).__name__}({', '.join(options)})"
        return words if self.over is None else f"{words} over {self.over!r}"


def check_prediction(predictive: Any) -> None:
    """Raises if it is none, such as a dict of those of several outputs."""
    if not isinstance(predictive, Predictive):
        raise TypeError(
            "`predictive` must be the prediction of one output, as "
            "tfpbnn.predict gives it; of several outputs take one by its name, "
            f"predictive[name]. Received: {type(predictive).__name__}"
        )


def digest(recalibration: Recalibration | None) -> str:
    """Tells calibrators apart that map differently; "" for none."""
    if recalibration is None:
        return ""
    config = keras.saving.serialize_keras_object(recalibration)
    words = json.dumps(config, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def one_hot(likelihood: Any, y: Array, num_classes: int) -> Array:
    """Converts aligned labels `[n]` or `[n, K]` to shares of classes `[n, K]`.

    Those of independent labels, `[n, k]`, stay.
    """
    if not isinstance(likelihood, Categorical) or y.ndim == 2:
        return y.astype(np.float64)
    return np.eye(num_classes)[y.astype(np.int64)]


def _check_logits(outputs: Array) -> None:
    """Raises if what should be logits are probabilities of classes."""
    is_share = np.all((outputs >= 0) & (outputs <= 1))
    if is_share and np.allclose(np.sum(outputs, axis=-1), 1, atol=1e-3):
        raise ValueError(
            "`outputs` must be logits, unless `likelihood` says otherwise. "
            "Received: numbers from 0 to 1 of which each row has the sum 1, as "
            "probabilities do. For these pass "
            "likelihood=tfpbnn.likelihoods.Categorical(from_logits=False)"
        )
