"""From a model's outputs, which come in pieces, to predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfpbnn import likelihoods
from tfpbnn.base.types import Array, Tree
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction import averages
from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive


class Collector:
    """Collects outputs, or averages over draws, of each piece of rows.

    A model has one output, or several in a list or dict; the predictions come
    in the same structure.
    """

    def __init__(self, loss: Any, names: list[str], keep_draws: bool):
        """Begins with nothing.

        Args:
            loss: a likelihood or Keras loss, or one for each output.
            names: of the model's outputs.
            keep_draws: whether outputs are kept, or averages only.
        """
        self._loss = loss
        self._names = names
        self._keep_draws = keep_draws
        self._structure: Tree = None
        self._likelihoods: list[Likelihood] = []

    def collect(self, pieces: Iterator[Tree]) -> list[Any]:
        """Collects one piece of rows: outputs, or their averages over draws.

        Args:
            pieces: outputs of some draws after another, `[d, B, ..., P]`.
        """
        kept: list[list[Any]] = []
        for outputs in pieces:
            leaves = keras.tree.flatten(outputs)
            if not self._likelihoods:
                self._structure = keras.tree.map_structure(lambda _: 0, outputs)
                self._likelihoods = resolve(
                    self._loss, self._names, [y.shape[-1] for y in leaves]
                )
            for y, likelihood in zip(leaves, self._likelihoods, strict=True):
                likelihood.check_outputs(y)
            kept.append(
                leaves
                if self._keep_draws
                else list(map(self._average, leaves, self._likelihoods))
            )
        join = _joined if self._keep_draws else averages.merge
        return [join(parts) for parts in zip(*kept, strict=True)]

    def predictives(
        self, batches: list[list[Any]], num_samples: int, draws: str
    ) -> Tree:
        """The predictions, from what was collected of all rows."""
        found = [
            self._join(parts, likelihood, num_samples, draws)
            for parts, likelihood in zip(
                zip(*batches, strict=True), self._likelihoods, strict=True
            )
        ]
        return keras.tree.pack_sequence_as(self._structure, found)

    def _join(
        self,
        parts: tuple[Any, ...],
        likelihood: Likelihood,
        num_samples: int,
        draws: str,
    ) -> Predictive:
        if self._keep_draws:
            outputs = _joined(parts, axis=1)
            return _kind(likelihood)(outputs, likelihood, draws)
        averages = tuple(map(_joined, zip(*parts, strict=True)))
        return _kind(likelihood).without_draws(
            num_samples, averages, likelihood, draws
        )

    def _average(
        self, outputs: Array, likelihood: Likelihood
    ) -> tuple[int, tuple[Array, ...]]:
        p = _kind(likelihood)(outputs, likelihood)
        return p.num_samples, p.summaries


def resolve(
    loss: Any, names: Sequence[str], sizes: Sequence[int]
) -> list[Likelihood]:
    """The likelihood of each output.

    Args:
        loss: a likelihood or Keras loss, or one for each output.
        names: of the outputs.
        sizes: of their last axes.
    """
    if isinstance(loss, Mapping):
        missing = [name for name in names if name not in loss]
        if missing:
            raise ValueError(
                "`likelihood` (or the compiled loss) must have an entry "
                f"for each output. Received: {sorted(loss)}, without "
                f"{missing}"
            )
        losses = [loss[name] for name in names]
    elif isinstance(loss, list | tuple):
        losses = list(loss)
    else:
        losses = [loss] * len(sizes)
    if len(losses) != len(sizes):
        raise ValueError(
            "`likelihood` (or the compiled loss) must have an entry for "
            f"each of the model's {len(sizes)} outputs. Received: "
            f"{len(losses)}"
        )
    return [
        likelihoods.from_loss(one, size)
        for one, size in zip(losses, sizes, strict=True)
    ]


def _joined(parts: Sequence[Array], axis: int = 0) -> Array:
    """The parts along an axis, without a copy if there is one."""
    shapes = [np.delete(part.shape, axis).tolist() for part in parts]
    if odd := next((shape for shape in shapes if shape != shapes[0]), None):
        raise ValueError(
            "`x` must have batches whose outputs have one shape. Received: "
            f"{parts[0].shape[axis + 1 :]} and {tuple(odd[axis:])} for a row. "
            "Pad all batches to the same length, as `padded_batch` does with "
            "`padded_shapes`, or predict them one by one"
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


def _kind(likelihood: Likelihood) -> type[Predictive]:
    if likelihood.is_classification:
        return ClassificationPredictive
    return RegressionPredictive
