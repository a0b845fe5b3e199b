"""The arguments of predictions, and what they come to."""

import dataclasses
from typing import Any, NamedTuple

import keras

from tfpbnn.base import checks, data
from tfpbnn.base.by_output import by_output, one_or_each
from tfpbnn.networks import reading
from tfpbnn.particles.ways import Draws
from tfpbnn.prediction.collect import Collector
from tfpbnn.prediction.pieces import Run
from tfpbnn.prediction.results import Predictive

# None takes the cheapest way.
_DRAWS = {"auto": None} | {draws.value: draws for draws in Draws}


class HeldOut(NamedTuple):
    """A prediction of one output, and what came true.

    Attributes:
        predictive: the prediction.
        y: the targets, as they were given.
        sample_weight: their weights, or None.
    """

    predictive: Predictive
    y: Any
    sample_weight: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments that `predict` and `evaluate` share, checked."""

    num_samples: int
    batch_size: int | None = None
    seed: int | None = None
    verbose: Any = "auto"
    draws: str = "auto"
    antithetic: bool = False
    memory_budget: int | None = None
    likelihood: Any = None
    keep_draws: bool = True

    def __post_init__(self) -> None:
        checks.positive_integer("num_samples", self.num_samples)
        checks.positive_integer.optional("batch_size", self.batch_size)
        checks.positive_integer.optional("memory_budget", self.memory_budget)
        checks.one_of("draws", self.draws, list(_DRAWS))

    def predict(
        self, model: keras.Model, x: Any
    ) -> tuple[Collector, dict[str, Predictive], tuple[Any, Any]]:
        """Returns the collector, predictions, and (targets, weights) of x."""
        run = self.run(model, x)
        collector = self.collector(model)
        pieces, brought = run.over(self.batch_size, self.verbose, collector)
        run.check_random()
        assert run.draws is not None
        found = collector.predictives(pieces, run.num_samples, run.draws.value)
        return collector, found, brought or (None, None)

    def held_out(
        self, model: keras.Model, x: Any, y: Any, sample_weight: Any
    ) -> tuple[list[str], dict[str, HeldOut]]:
        """Predicts outputs, by name, and pairs them with what is known."""
        collector, found, brought = self.predict(model, x)
        y = brought[0] if y is None else y
        weights = brought[1] if sample_weight is None else sample_weight
        if y is None:
            raise ValueError(
                "`y` must be given, unless x is a dataset of (x, y) batches. "
                "Received: y=None"
            )
        names = collector.all_names, list(found)
        targets = by_output("`y`", y, *names)
        weights = one_or_each("`sample_weight`", weights, *names)
        by_name = dict(
            zip(names[0], zip(targets, weights, strict=True), strict=True)
        )
        return names[0], {
            name: HeldOut(p, *by_name[name]) for name, p in found.items()
        }

    def collector(self, model: keras.Model) -> Collector:
        """Makes what collects a model's outputs."""
        loss = self.likelihood or reading.compiled_loss(model)
        names = reading.output_names(model)
        return Collector(loss, names, self.keep_draws)

    def run(self, model: keras.Model, x: Any) -> Run:
        """Prepares a pass of a model over data."""
        reading.check_built(model)
        return Run(
            model,
            x
            if data.is_stream(x)
            else data.as_rows(
                "x", x, reading.input_names(model), is_finite=False
            ),
            self.num_samples,
            draws=_DRAWS[self.draws],
            seed=self.seed,
            antithetic=self.antithetic,
            memory_budget=self.memory_budget,
        )
