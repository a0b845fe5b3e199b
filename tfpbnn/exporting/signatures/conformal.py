"""Conformal sets and intervals are put into a server's answers here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.by_output import by_output
from tfpbnn.base.types import Array, Tensor
from tfpbnn.calibration.conformal import shares
from tfpbnn.calibration.conformal.base import Conformal
from tfpbnn.calibration.conformal.requests import Asked
from tfpbnn.exporting.arguments import Arguments
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


class Answers:
    """The conformal sets and intervals of an export, by outputs."""

    def __init__(
        self,
        given: Any,
        outputs: Mapping[str, Likelihood | None],
        spec: Any,
        arguments: Arguments,
    ):
        """Checks what is given.

        Args:
            given: a fitted predictor, or a dict by outputs, of those that are
                to have one.
            outputs: the likelihood of each output, by its name.
            spec: the TensorSpecs of the outputs, `[B, ...]` each.
            arguments: those of the export.

        Raises:
            TypeError: if something else is given.
            ValueError: if a predictor does not fit, or no signature has its
                draws, or the format can't say it.
        """
        signatures = arguments.signatures
        self.predictors = _predictors(given, outputs, signatures)
        for one in self.predictors.values():
            _check_format(one, arguments.format)
        self._is_one = len(outputs) == 1
        shapes = (leaf.shape[:-1] for leaf in keras.tree.flatten(spec))
        self._places = dict(zip(outputs, shapes, strict=True))
        # Random numbers are of requests' keys, if these have some.
        self._is_keyed = arguments.draws == "fresh"

    def described(self) -> dict[str, Any]:
        """Returns what the card says of the predictors, by outputs."""
        found = {}
        for output, one in self.predictors.items():
            about = {"class": type(one).__name__, "coverage": one.coverage}
            if "groups" in one.asks(with_uniforms=False):
                about["groups"] = list(one.scores)
            found[output] = about
        return found

    def specs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """Returns what a signature takes beside features, by name."""
        found = {}
        for output in self._answered(signature):
            for kind, asked in self._asks(output, signature).items():
                spec = asked.spec(self._places[output])
                name = self._name_of(output, kind)
                found[name] = tf.TensorSpec(spec.shape, spec.dtype, name)
        return found

    def example(self, signature: str, rows: int) -> dict[str, Array]:
        """Makes inputs of a request, of the names in `specs`."""
        found = {}
        for output in self._answered(signature):
            groups = next(iter(self.predictors[output].scores or {}))
            for kind, asked in self._asks(output, signature).items():
                spec = asked.spec(self._places[output])
                shape = [rows, *(size or 1 for size in spec.shape[1:])]
                value = groups if kind == "groups" else 0.5
                found[self._name_of(output, kind)] = _filled(shape, spec, value)
        return found

    def of(
        self,
        output: str,
        signature: str,
        prediction: "Answered",
        given: Mapping[str, Tensor],
        key: Callable[[], Tensor] | None,
    ) -> dict[str, Tensor]:
        """Gives sets or intervals by name, as "conformal_sets".

        Args:
            output: the name of the output.
            signature: the name of the signature.
            prediction: that of the output.
            given: the inputs of the request that `specs` names.
            key: makes the key of random numbers, of all rows or of each; None
                if they come with the request.
        """
        if output not in self._answered(signature):
            return {}
        predictor = self.predictors[output]
        names = self._asks(output, signature)
        brought = {kind: given[self._name_of(output, kind)] for kind in names}
        share = None
        if predictor.is_randomized and "uniforms" not in names:
            assert key is not None
            places = tf.shape(prediction.mean)[:-1]
            share = shares.of_key(key(), predictor.seed, places)
        found = predictor.answers(prediction, brought, share)
        return {f"conformal_{name}": tensor for name, tensor in found.items()}

    def _answered(self, signature: str) -> list[str]:
        found = self.predictors.items()
        return [name for name, one in found if _fits(one, signature)]

    def _asks(self, output: str, signature: str) -> dict[str, Asked]:
        is_keyed = self._is_keyed and signature != "deterministic"
        return self.predictors[output].asks(with_uniforms=not is_keyed)

    def _name_of(self, output: str, kind: str) -> str:
        prefix = "" if self._is_one else f"{output}_"
        return f"{prefix}conformal_{kind}"


def _filled(shape: list[int], spec: tf.TensorSpec, value: Any) -> Array:
    if spec.dtype == tf.string:
        return np.full(shape, value, object)
    if spec.dtype == tf.bool:
        return np.full(shape, value == "True")
    return np.full(shape, float(value), spec.dtype.as_numpy_dtype)


def _predictors(
    given: Any,
    outputs: Mapping[str, Likelihood | None],
    signatures: Sequence[str],
) -> dict[str, Any]:
    """Returns the fitted predictors by the names of outputs that have one."""
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
        one.asks(with_uniforms=True)
        if not any(_fits(one, signature) for signature in signatures):
            needs = "deterministic" if _is_one_pass(one) else "serving_default"
            raise ValueError(
                "`conformal` must be fitted to predictions such as those that "
                f"a signature gives. Received: {one!r}, fitted to those of "
                f'"{needs}", and signatures={list(signatures)}'
            )
    return found


def _check_format(conformal: Conformal, format: str) -> None:
    """Raises if a format lacks operations that a predictor needs."""
    if format == "savedmodel":
        return
    if conformal.needs_quantiles:
        raise ValueError(
            "`conformal` must be made without quantiles, such as "
            f'NormalizedResidual, for format="{format}", which has no '
            f"operations for them. Received: {conformal!r}. Use it with "
            'format="savedmodel"'
        )
    asked = conformal.asks(with_uniforms=True).values()
    if format == "onnx" and any(one.dtype == "string" for one in asked):
        raise ValueError(
            "`conformal` must be fitted to groups that are whole numbers for "
            'format="onnx", which compares no texts. Received: '
            f"{conformal!r}, fitted to the groups "
            f"{list(conformal.scores or {})[:5]}. Number them, or use "
            'format="savedmodel" or "litert"'
        )


def _is_one_pass(conformal: Conformal) -> bool:
    """Says whether a predictor was fitted to one pass, without draws."""
    return conformal.made_by is not None and conformal.made_by.is_one_pass


def _fits(conformal: Conformal, signature: str) -> bool:
    """Says whether a signature's predictions are such as those in `fit`."""
    if signature == "samples":
        return False
    return _is_one_pass(conformal) == (signature == "deterministic")
