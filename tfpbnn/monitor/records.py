"""Reduces predictions to what scores them when labels come.

What is kept of a row is draws of a model's outputs, as a `Predictive` has them:
so rows are scored by the code that scores any prediction. Of labels one draw is
enough, whose probabilities are the averages; of a prediction without draws it
is a Normal with its mean and variance.
"""

import json
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn import metrics
from tfpbnn.base import data
from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Bernoulli, Categorical, Likelihood, Normal
from tfpbnn.likelihoods.parameters import raw_of
from tfpbnn.prediction.results import (
    ClassificationPredictive,
    Predictive,
    RegressionPredictive,
)

_LEAST = np.finfo(np.float64).tiny


class Kept(NamedTuple):
    """What is kept of predictions.

    Attributes:
        likelihood: what the draws are of.
        outputs: the draws, `[S, N, P]`.
        epistemic: how uncertain each row is for lack of data, `[N]`.
        aleatoric: and by its noise, `[N]`. Of labels both are in nats, of
            numbers standard deviations (root mean squares over targets).
        is_finite: which rows have numbers only, `[N]`. Their variance may be
            infinite, as of Student's t with few degrees of freedom.
    """

    likelihood: Likelihood
    outputs: Array
    epistemic: Array
    aleatoric: Array
    is_finite: Array


def kept(predictive: Any, keep_draws: bool) -> Kept:
    """Reduces a prediction to what is kept of it.

    Args:
        predictive: a `Predictive` of one place a row.
        keep_draws: whether draws of numbers are kept.

    Raises:
        TypeError: if it is no `Predictive`.
        ValueError: if its rows have several places.
    """
    if not isinstance(predictive, Predictive):
        raise TypeError(
            "`predictive` must be a tfpbnn.Predictive; of a model with several "
            "outputs each has a monitor of its own name. Received: "
            f"{type(predictive).__name__}"
        )
    p = predictive
    if p.place != "row":
        raise ValueError(
            "`predictive` must have one place a row. Received: one whose rows "
            "have several. Give the places as rows, "
            "predictive[np.ones(predictive.outputs_shape[:-1], bool)], each "
            "with an id of its own"
        )
    likelihood, outputs = _outputs(p, keep_draws)
    if p.mask is not None:
        outputs = np.where(p.mask[:, np.newaxis], outputs, np.nan)
    parts = _uncertainties(p)
    rows, finite = ~np.isnan(sum(parts)), np.isfinite(outputs)
    if not finite.all():  # row by row it takes ten times as long
        rows &= finite.all(axis=(0, 2))
    return Kept(likelihood, outputs, *parts, rows)


def _uncertainties(p: Any) -> tuple[Array, Array]:
    """Computes the epistemic and the aleatoric uncertainty of rows, `[N]`."""
    is_labels = p.likelihood.is_classification
    epistemic, aleatoric = (
        (p.mutual_information, p.expected_entropy)
        if is_labels
        else (p.epistemic_variance, p.aleatoric_variance)
    )
    epistemic, aleatoric = (
        np.mean(part, axis=tuple(range(1, part.ndim)))
        for part in (epistemic, aleatoric)
    )
    if is_labels:
        return epistemic, aleatoric
    return np.sqrt(epistemic), np.sqrt(aleatoric)


def _outputs(p: Any, keep_draws: bool) -> tuple[Likelihood, Array]:
    """Returns draws, and what they are of, that give the same scores."""
    likelihood = p.likelihood
    if likelihood.is_classification:
        is_one = isinstance(likelihood, Categorical) or p.mean.shape[-1] == 1
        if p.has_draws and not is_one:
            # Several labels are scored jointly, which draws tell alone.
            return likelihood, _floats(p.outputs)
        probabilities = np.maximum(p.mean, _LEAST)
        if isinstance(likelihood, Categorical):
            same = Categorical(ignore_class=likelihood.ignore_class)
            return same, np.log(probabilities)[np.newaxis].astype(np.float32)
        no = np.maximum(1 - p.mean, _LEAST)
        logits = np.log(probabilities) - np.log(no)
        return Bernoulli(), logits[np.newaxis].astype(np.float32)
    if p.has_draws and keep_draws:
        return likelihood, _floats(p.outputs)
    raw = raw_of(tf.constant(p.stddev)).numpy()
    return Normal(), np.concatenate([p.mean, raw], axis=-1)[np.newaxis]


def _floats(outputs: Array) -> Array:
    is_double = outputs.dtype == np.float64
    return outputs if is_double else outputs.astype(np.float32)


def joined(rows: list[bytes], draws: int, num_outputs: int) -> Array:
    """Makes draws `[S, n, P]` of rows `[S, P]`, as they are stored.

    Args:
        rows: the bytes of each, as many for all.
        draws: S.
        num_outputs: P.
    """
    size = len(rows[0]) // (draws * num_outputs)
    values = np.frombuffer(b"".join(rows), f"f{size}")
    return values.reshape(len(rows), draws, num_outputs).swapaxes(0, 1)


def predictive(likelihood: Likelihood, outputs: Array) -> Any:
    """Makes the prediction that was kept, of draws `[S, N, P]`."""
    kind = (
        ClassificationPredictive
        if likelihood.is_classification
        else RegressionPredictive
    )
    return kind(outputs, likelihood)


class Scored(NamedTuple):
    """The scores of rows, of k targets each.

    Attributes:
        nll: in nats, jointly for the targets, `[n]`; NaN where it takes draws
            that there are none of.
        loss: squared errors of numbers, Brier scores of labels, `[n, k]`.
        low, high: of numbers, the distribution function just below and at each
            target; of labels, the probability of the predicted one, and
            whether it is right, `[n, k]`.
    """

    nll: Array
    loss: Array
    low: Array
    high: Array

    def rows(self) -> Array:
        """Returns one array, `[n, 1 + 3 k]`."""
        return np.concatenate([self.nll[:, np.newaxis], *self[1:]], axis=1)

    @classmethod
    def of(cls, rows: Array) -> "Scored":
        """Takes the scores out of such an array."""
        return cls(rows[:, 0], *np.split(rows[:, 1:], 3, axis=1))


def score(likelihood: Likelihood, outputs: Array, y: Array) -> Scored:
    """Scores rows with their labels.

    Args:
        likelihood: of the draws.
        outputs: draws `[S, n, P]`.
        y: labels or targets, one row for each row.

    Raises:
        ValueError: if labels don't fit the likelihood.
    """
    p, y, _, _ = predictive(likelihood, outputs).counted(y)
    if likelihood.is_classification:
        return _score_labels(p, y)
    below, up_to = p.cdf_ends(y)
    below = up_to if below is None else below
    return Scored(-p.log_prob(y), np.square(y - p.mean), below, up_to)


def _score_labels(p: Any, y: Array) -> Scored:
    num_classes, nll = p.mean.shape[-1], -p.log_prob(y)
    if is_joint(p.likelihood):
        loss = 2 * np.square(p.mean - y)
        takes_draws = num_classes > 1 and p.num_samples == 1
    else:
        # As in `evaluate`, the most probable class of soft labels counts.
        takes_draws = y.ndim == 2 and np.max(y, axis=1) != 1
        labels = np.argmax(y, axis=1) if y.ndim == 2 else y.astype(int)
        hot = np.eye(num_classes)[labels]
        loss = np.sum(np.square(p.mean - hot), axis=1, keepdims=True)
    top, right = (np.reshape(part, loss.shape) for part in p.confidence(y))
    nll = np.where(takes_draws, np.nan, nll)
    return Scored(nll, loss, top, right.astype(np.float64))


def is_ignored(likelihood: Likelihood, y: Array, num_outputs: int) -> Array:
    """Says which labels the likelihood ignores, `[n]`."""
    zeros = np.zeros((len(y), num_outputs))
    found = likelihood.ignored(y, zeros)
    if found is None:
        return np.zeros(len(y), bool)
    by_row: Array = np.reshape(np.asarray(found), (len(y), -1))
    return np.array(np.all(by_row, axis=1))


def covered(scored: Scored, level: float = 0.9) -> Array:
    """Says which targets are inside of their central intervals, `[n, k]`."""
    tail = (1 - level) / 2
    return np.asarray((scored.high >= tail) & (scored.low <= 1 - tail))


def inside(scored: Scored, level: float = 0.9) -> Array:
    """The chance of each target to be in its central interval, `[n, k]`.

    It is 0 or 1 of numbers without steps. An interval of counts holds more than
    its level, since it ends at whole ones; so of a step of the distribution
    function that share counts which is within the levels of the interval. Its
    mean is the level then, if predictions are right, whatever the steps.

    Reference:
        [Czado et al., 2009](https://doi.org/10.1111/j.1541-0420.2009.01191.x)
    """
    tail = (1 - level) / 2
    step = scored.high - scored.low
    low, high = np.maximum(scored.low, tail), np.minimum(scored.high, 1 - tail)
    share = np.maximum(high - low, 0) / np.where(step > 0, step, 1)
    return np.where(step > 0, share, covered(scored, level))


def shares_of_levels(scored: Scored, levels: Array) -> Array:
    """Counts targets below their quantiles of some levels, `[L]`."""
    if not scored.low.size:
        return np.zeros(len(levels))
    is_smooth = np.array_equal(scored.low, scored.high)
    share = metrics.calibration_curve(
        scored.high, levels, below=None if is_smooth else scored.low
    )
    # NumPy's floats, so that mypy knows them.
    return np.asarray(share, np.float64) * scored.high.size


def to_config(likelihood: Likelihood) -> dict[str, Any]:
    """Returns what JSON can keep of a likelihood."""
    config: dict[str, Any] = keras.saving.serialize_keras_object(likelihood)
    for name in ("name", "reduction"):  # these change no prediction
        config["config"].pop(name, None)
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


def from_config(config: dict[str, Any]) -> Likelihood:
    """Makes the likelihood that a config is of."""
    found: Likelihood = keras.saving.deserialize_keras_object(config)
    return found


def is_joint(likelihood: Likelihood) -> bool:
    """Says whether each of the outputs is a label, or a target, of its own."""
    return not isinstance(likelihood, Categorical)


def checked(likelihood: Likelihood, num_outputs: int, y: Any) -> Array:
    """Checks labels without a prediction, and returns them as numbers.

    Raises:
        ValueError: if they don't fit the likelihood.
    """
    numbers = as_numbers(y)
    y = as_labels(numbers)
    some = ~is_ignored(likelihood, y, num_outputs)
    if some.any():
        zeros = np.zeros((1, int(some.sum()), num_outputs))
        predictive(likelihood, zeros).counted(y[some])
    return numbers


def as_numbers(y: Any) -> Array:
    """Returns labels as they are stored, `[n, m]`.

    Raises:
        TypeError, ValueError: if they are not numbers, or NaN.
    """
    y = np.asarray(y)
    data.check_numbers("`y`", y)
    return y.reshape(len(y), -1).astype(np.float64)


def as_labels(y: Array) -> Array:
    """Gives labels `[n, m]`, as they are stored, the shape of targets."""
    return y[:, 0] if y.shape[1] == 1 else y
