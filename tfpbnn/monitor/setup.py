"""Says what a monitor was made with: its reference, its options, its model."""

import dataclasses
import functools
import json
from typing import Any

import numpy as np

from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Likelihood
from tfpbnn.monitor import records
from tfpbnn.monitor.reference import STATISTICS, Variable, claim

UNCERTAINTIES = ("epistemic", "aleatoric")
INPUT = "input "


@dataclasses.dataclass(frozen=True)
class Options:
    """What a monitor's user chooses, once.

    Attributes:
        alpha: the rate of false alarms of all tests together.
        control: what the rate is of, as in `BettingTest`.
        tolerance: how far coverage and confidence may be from what was
            promised, a share.
        keep_draws: whether draws of numbers are kept, for exact scores.
    """

    alpha: float = 0.01
    control: str = "ever"
    tolerance: float = 0.02
    keep_draws: bool = True


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a monitor was made with.

    Attributes:
        options: what its user has chosen.
        variables: distributions in the reference, by name: uncertainties,
            "input NAME" for inputs, and "nll" and "loss" if it had labels.
        model: what the predictions are, known from the first one; None before.
        scores: the scores of the reference, by name, if it had labels.
        num_samples: of how many draws the reference was; 0 if that is unknown.
    """

    options: Options
    variables: dict[str, Variable]
    model: "Model | None" = None
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    num_samples: int = 0

    @functools.cached_property
    def claims(self) -> dict[tuple[str, str], tuple[float, float]]:
        """The ranges of means of ranks, by variable and statistic."""
        # Half of the false alarms are for the chance of the reference's rows.
        beta = self.options.alpha / 2 / max(1, len(self.variables))
        return {
            (name, statistic): claim(variable, statistic, beta)
            for name, variable in self.variables.items()
            for statistic in STATISTICS
        }

    @property
    def features(self) -> list[str]:
        """The names of inputs that the reference had."""
        return [
            name.removeprefix(INPUT)
            for name in self.variables
            if name.startswith(INPUT)
        ]

    def has_reference_of(self, other: "Setup") -> bool:
        """Says whether both have the same reference."""
        return self._config()["variables"] == other._config()["variables"]

    def dumps(self) -> str:
        """Writes it as JSON."""
        return json.dumps(self._config())

    def _config(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "variables": {
                name: variable.to_config()
                for name, variable in self.variables.items()
            },
            "model": self.model and dataclasses.asdict(self.model),
            "scores": self.scores,
            "num_samples": self.num_samples,
        }

    @classmethod
    def loads(cls, text: str) -> "Setup":
        """Reads it from JSON."""
        found = json.loads(text)
        model = found["model"]
        return cls(
            Options(**found["options"]),
            {
                name: Variable.from_config(config)
                for name, config in found["variables"].items()
            },
            model and Model(**model),
            found["scores"],
            found["num_samples"],
        )


@dataclasses.dataclass(frozen=True)
class Model:
    """What the predictions of a model are.

    Attributes:
        likelihood: the config of their likelihood.
        num_outputs: P, of each row.
        num_targets: k, the numbers or labels that are scored of each row.
        is_labels: whether labels are predicted.
    """

    likelihood: dict[str, Any]
    num_outputs: int
    num_targets: int
    is_labels: bool

    @classmethod
    def of(cls, kept: records.Kept) -> "Model":
        """Describes the model that predictions are of."""
        likelihood: Likelihood = kept.likelihood
        num_outputs = kept.outputs.shape[-1]
        num_targets = likelihood.event_size(num_outputs)
        is_one = likelihood.is_classification and not records.is_joint(
            likelihood
        )
        return cls(
            records.to_config(likelihood),
            num_outputs,
            1 if is_one else num_targets,
            likelihood.is_classification,
        )

    def check_same(self, before: "Model | None") -> None:
        """Raises a `ValueError` if it is not the model of before."""
        if before not in (None, self):
            raise ValueError(
                "`predictive` must be of the same kind as those before; log "
                "another model, output or calibration to a monitor of another "
                "name, and take keep_draws=False for a reference with draws of "
                f"a server without. Received: {self}, where there was {before}"
            )

    def __str__(self) -> str:
        kind, config = (self.likelihood[k] for k in ("class_name", "config"))
        return f"{kind} of {self.num_outputs} outputs, with {config}"

    def fits(self, y: Array) -> bool:
        """Says whether the label of one row, as it is stored, fits."""
        try:
            self.check(records.as_labels(y[np.newaxis]))
        except ValueError:
            return False
        return True

    def check(self, y: Any) -> Array:
        """Checks labels, whether or not there are predictions of them.

        Raises:
            ValueError: if they don't fit, or are not numbers.
        """
        likelihood = records.from_config(self.likelihood)
        return records.checked(likelihood, self.num_outputs, y)


def variables_of(
    kept: records.Kept,
    scored: records.Scored | None,
    inputs: dict[str, Array],
) -> dict[str, Variable]:
    """Keeps the distributions of a reference.

    Args:
        kept: its predictions.
        scored: their scores, if it has labels.
        inputs: columns of inputs, by name.
    """
    values: dict[str, Array] = {
        name: getattr(kept, name)[kept.is_finite] for name in UNCERTAINTIES
    }
    values |= {f"{INPUT}{name}": column for name, column in inputs.items()}
    if scored is not None:
        values |= {"nll": scored.nll, "loss": scored.loss.mean(axis=1)}
    variables = {name: Variable.of(column) for name, column in values.items()}
    return {k: v for k, v in variables.items() if v is not None}
