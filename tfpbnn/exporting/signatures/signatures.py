"""An export's signatures are functions of named tensors, batch first."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.types import Tensor
from tfpbnn.exporting.graphs.draws import ExportedDraws
from tfpbnn.exporting.graphs.fixed import FixedDraws
from tfpbnn.exporting.signatures import summaries
from tfpbnn.exporting.signatures.conformal import Answered, Answers
from tfpbnn.exporting.signatures.inputs import Inputs, finite_rows, rows_of
from tfpbnn.likelihoods import Likelihood

# The most draws that a request may ask for, unless more are the default.
MAX_SAMPLES = 1000
Named = dict[str, Tensor]
# What signatures say of draws; the others say all that can be said.
_SUMMARIES = {
    "deterministic": summaries.summarize_mean,
    "samples": summaries.samples,
}


class Signatures:
    """This makes signatures, each a traced function of named tensors."""

    def __init__(
        self,
        inputs: Inputs,
        draws: ExportedDraws,
        fixed: FixedDraws | None,
        outputs: dict[str, Likelihood | None],
        levels: Sequence[float],
        conformal: Answers,
    ):
        """Keeps what they are made of.

        Args:
            inputs: of the model.
            draws: the posterior's.
            fixed: draws to use in place of fresh ones.
            outputs: the likelihood of each output, in their order; of those
                without one nothing is answered.
            levels: of quantiles.
            conformal: the sets and intervals that are answered too.
        """
        self._inputs = inputs
        self._draws = draws
        self._fixed = fixed
        self._outputs = outputs
        self._levels = tuple(levels)
        self._conformal = conformal
        # Signatures that need the same draws share the graph of them.
        self._unseeded = tf.function(self._draw, autograph=False)

    def traced(self, name: str) -> Any:
        """Returns the signature of this name."""
        if name == "dynamic":
            return self._dynamic()
        method = {
            "serving_default": self._serving_default,
            "samples": self._samples,
            "deterministic": self._deterministic,
            "seeded": self._seeded,
        }[name]
        specs = self._specs(name)
        if name == "seeded":
            specs["seed"] = tf.TensorSpec([None], tf.int64, name="seed")
        function = tf.function(
            lambda **tensors: method(tensors), autograph=False
        )
        return function.get_concrete_function(**specs)

    def _specs(self, name: str) -> dict[str, tf.TensorSpec]:
        """Returns what a signature takes of each row, by name."""
        more = self._conformal.specs(name)
        if clashes := sorted(set(more) & set(self._inputs.specs)):
            raise ValueError(
                "`posterior` must have inputs whose names differ from those "
                f"that `conformal` needs. Received: the inputs {clashes}. "
                "Rename them"
            )
        return {**self._inputs.specs, **more}

    def _serving_default(self, tensors: Named) -> Named:
        key = random.fresh_key
        return self._answer(tensors, self._unseeded, "serving_default", key)

    def _samples(self, tensors: Named) -> Named:
        return self._answer(tensors, self._unseeded, "samples")

    def _deterministic(self, tensors: Named) -> Named:
        def mean(named: Named) -> Any:
            return self._draws.mean(self._inputs.pack(named))

        return self._answer(tensors, mean, "deterministic")

    def _seeded(self, tensors: Named) -> Named:
        seeds = tensors.pop("seed")

        def draw(named: Named) -> Any:
            x, rows = self._inputs.pack(named), rows_of(named)
            return self._draws.seeded(x, rows, seeds)

        def key() -> Tensor:
            return random.as_keys(seeds)

        return self._answer(tensors, draw, "seeded", key)

    def _dynamic(self) -> Any:
        """Takes the number of draws and the seed as inputs, with defaults."""
        of_rows = self._specs("dynamic")
        names = list(of_rows)
        default = tf.constant(self._draws.num_samples)

        def run(*arguments: Tensor) -> Named:
            *tensors, count, seed = arguments
            with tf.control_dependencies([self._is_possible(count)]):
                stop = tf.cast(count, tf.int64)
            key = tf.where(seed < 0, random.fresh_key(), random.as_keys(seed))

            def draw(named: Named) -> Any:
                x, rows = self._inputs.pack(named), rows_of(named)
                return self._draws.of_key(x, rows, key, stop)

            named = dict(zip(names, tensors, strict=True))
            return self._answer(named, draw, "dynamic", lambda: key)

        parameter = inspect.Parameter
        kind = parameter.POSITIONAL_OR_KEYWORD
        # What TensorFlow reads names and defaults off.
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                *(parameter(name, kind) for name in names),
                parameter("num_samples", kind, default=default),
                parameter("seed", kind, default=tf.constant(-1, tf.int64)),
            ]
        )
        specs = [
            *of_rows.values(),
            tf.TensorSpec([], tf.int32, name="num_samples"),
            tf.TensorSpec([], tf.int64, name="seed"),
        ]
        function = tf.function(run, input_signature=specs, autograph=False)
        return function.get_concrete_function()

    def _is_possible(self, count: Tensor) -> Any:
        """Returns an operation that fails unless there are so many draws."""
        most = self._draws.most(max(MAX_SAMPLES, self._draws.num_samples))
        return tf.debugging.Assert(
            (count >= 1) & (count <= most),
            [f"`num_samples` must be from 1 to {most}. Received:", count],
        )

    def _draw(self, named: Named) -> Any:
        if self._fixed is not None:
            return self._fixed(named)
        return self._draws.fresh(self._inputs.pack(named), rows_of(named))

    def _answer(
        self,
        tensors: Named,
        draw: Callable[[Named], Any],
        signature: str,
        key: Callable[[], Tensor] | None = None,
    ) -> Named:
        """Returns what a signature gives, by name."""
        summary = _SUMMARIES.get(signature, summaries.summarize)
        named = self._inputs.checked(tensors)
        finite, found = finite_rows(named), {}
        flat = keras.tree.flatten(draw(named))
        for (output, likelihood), y in zip(
            self._outputs.items(), flat, strict=True
        ):
            if likelihood is None:
                continue
            parts = summary(likelihood, y, self._levels)
            if signature != "samples":
                prediction = Answered(likelihood, y, parts)
                parts |= self._conformal.of(
                    output, signature, prediction, tensors, key
                )
            for kind, tensor in parts.items():
                name = self._name_of(output, kind)
                if name in found:
                    raise _same_names(self._outputs, name)
                found[name] = summaries.where_finite(finite, tensor)
        return found

    def _name_of(self, output: str, kind: str) -> str:
        """Names a part of an answer; those of one output are as they are."""
        if len(self._outputs) == 1:
            return kind
        return output if kind == "outputs" else f"{output}_{kind}"


def _same_names(outputs: Iterable[str], name: str) -> ValueError:
    return ValueError(
        "`posterior` must have outputs whose names differ, also with what is "
        f"said of them behind. Received: the outputs {list(outputs)}, of which "
        f"two would answer {name!r}. Rename one of them."
    )
