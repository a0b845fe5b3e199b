"""Tells whether new predictions are made as those that were held out."""

from typing import Any, NamedTuple

from tfpbnn.calibration.base import digest


class MadeBy(NamedTuple):
    """How predictions were made, as far as coverages depend on it.

    Attributes:
        map: a text that tells the fitted calibrator, "" for none; None where
            draws were not kept, of which averages may be mapped already.
        is_one_pass: whether they are of one draw, such as that of the means.
        size: the number of classes or targets of a place.
    """

    map: str | None
    is_one_pass: bool
    size: int

    @classmethod
    def of(cls, predictive: Any) -> "MadeBy":
        """Reads it off a prediction."""
        likelihood = predictive.likelihood
        return cls(
            digest(likelihood.recalibration) if predictive.has_draws else None,
            predictive.num_samples == 1,
            likelihood.event_size(predictive.outputs_shape[-1]),
        )

    def check(self, new: "MadeBy") -> None:
        """Raises if new predictions are made in another way."""
        for name, (must, had, has) in {
            "size": (
                "of the same output as in `fit`",
                f"one of size {self.size}",
                f"one of size {new.size}",
            ),
            "map": (
                "calibrated as in `fit`: calibrate the model first, and fit "
                "sets or intervals to its predictions, of other rows",
                "another calibrator" if self.map else "none",
                "another one" if new.map else "none",
            ),
            "is_one_pass": (
                "made as in `fit`, by draws or by one pass",
                _pass(self),
                _pass(new),
            ),
        }.items():
            pair = getattr(self, name), getattr(new, name)
            if None not in pair and pair[0] != pair[1]:
                raise ValueError(
                    f"`predictive` must be {must}, else coverages don't hold. "
                    f"Received: {has}, where `fit` had {had}"
                )


def _pass(made_by: MadeBy) -> str:
    return "one pass" if made_by.is_one_pass else "several draws"
