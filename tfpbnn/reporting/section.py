"""Defines what a page says of one output."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tfpbnn.prediction.results import Predictive


class Section(NamedTuple):
    """One output of a model, with what is known of it.

    Attributes:
        name: the name of the output; "" if there is one only.
        predictive: its prediction of N rows.
        y: the targets, one row for each predicted row.
        sample_weight: the weights of rows or places, or None.
        ood: the prediction of rows of another kind, or None.
        class_names: the names of the K classes, or None.
    """

    name: str
    predictive: Predictive
    y: Any
    sample_weight: Any
    ood: Predictive | None
    class_names: Sequence[str] | None

    @property
    def is_labels(self) -> bool:
        """Whether labels are predicted, rather than numbers."""
        return bool(self.predictive.likelihood.is_classification)

    def with_predictive(self, predictive: Predictive) -> "Section":
        """Returns the section with another prediction of the same rows."""
        return self._replace(predictive=predictive)
