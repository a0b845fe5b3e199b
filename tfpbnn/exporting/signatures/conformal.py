"""Conformal sets and intervals are put into a server's answers here."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn.base.by_output import by_output
from tfpbnn.base.types import Tensor
from tfpbnn.calibration.conformal.base import Conformal
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction.results import mixture


class Answered:
    """A prediction of a request's rows, as `Conformal.answers` takes it.

    Attributes:
        has_draws: True.
        likelihood: that of the output.
        outputs_shape: the shape of its outputs at one draw, `(None, ..., P)`.
        num_samples: the number of draws, or None if it is open.
        mean: the mean of numbers, or the probabilities of classes.
    """

    has_draws = True

    def __init__(
        self, likelihood: Likelihood, outputs: Tensor, parts: dict[str, Tensor]
    ):
        """Keeps what it is made of.

        Args:
            likelihood: that of the output.
            outputs: the outputs at each draw, `[S, B, .., P]`.
            parts: what is answered of them.
        """
        self.likelihood, self._outputs, self._parts = likelihood, outputs, parts
        self.num_samples, *places = outputs.shape
        self.outputs_shape = tuple(places)
        is_labels = likelihood.is_classification
        self.mean = parts["probabilities" if is_labels else "mean"]

    @property
    def variance(self) -> Tensor:
        """The predictive variance; of one network that of the noise."""
        aleatoric = self._parts["aleatoric_variance"]
        return self._parts.get("variance", aleatoric)

    @property
    def stddev(self) -> Tensor:
        return tf.sqrt(self.variance)

    def interval(self, level: float) -> tuple[Tensor, Tensor]:
        """Finds the central interval of a probability, `[B, .., k]` each."""
        tail = (1 - level) / 2
        lower, upper = tf.unstack(
            mixture.quantile(
                mixture.cdf_of(self.likelihood, self._outputs),
                [tail, 1 - tail],
                *mixture.centers(self.mean, self.variance),
                self.likelihood.is_discrete,
            )
        )
        return lower, upper


def predictors(
    given: Any,
    outputs: Mapping[str, Likelihood | None],
    signatures: Sequence[str],
) -> dict[str, Conformal]:
    """Returns the fitted predictors by the names of outputs that have one.

    Args:
        given: a predictor, or a dict by outputs, of those that are to have one.
        outputs: the likelihood of each output.
        signatures: the names of those that are exported.

    Raises:
        TypeError: if something else is given.
        ValueError: if a predictor does not fit, or no signature has its draws.
    """
    if given is None:
        return {}
    needed = [name for name, one in outputs.items() if one is not None]
    if isinstance(given, Mapping):
        given = dict.fromkeys(needed) | dict(given)
    entries = by_output("`conformal`", given, list(outputs), needed)
    named = zip(outputs, entries, strict=True)
    found = {name: one for name, one in named if one is not None}
    for one in found.values():
        if not isinstance(one, Conformal):
            raise TypeError(
                "`conformal` must be a fitted LAC, APS, RAPS, CQR, "
                "AbsoluteResidual or NormalizedResidual, or a dict of these by "
                f"outputs. Received: {one!r}"
            )
        one.check_answers()
        if not any(fits(one, signature) for signature in signatures):
            needs = "deterministic" if is_one_pass(one) else "serving_default"
            raise ValueError(
                "`conformal` must be fitted to predictions such as those that "
                f"a signature gives. Received: {one!r}, fitted to those of "
                f'"{needs}", and signatures={list(signatures)}'
            )
    return found


def is_one_pass(conformal: Conformal) -> bool:
    """Says whether a predictor was fitted to one pass, without draws."""
    return conformal.made_by is not None and conformal.made_by.is_one_pass


def fits(conformal: Conformal, signature: str) -> bool:
    """Says whether a signature's predictions are such as those in `fit`."""
    if signature == "samples":
        return False
    return is_one_pass(conformal) == (signature == "deterministic")


def answers(
    conformal: Conformal,
    likelihood: Likelihood,
    outputs: Tensor,
    parts: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Gives sets or intervals by name, as "conformal_sets".

    Args:
        conformal: the fitted predictor.
        likelihood: that of the output.
        outputs: the outputs at each draw, `[S, B, .., P]`.
        parts: what else is answered of them.
    """
    found = conformal.answers(Answered(likelihood, outputs, parts))
    return {f"conformal_{name}": tensor for name, tensor in found.items()}
