"""From a model's outputs, which come in pieces, to predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np

from tfpbnn import likelihoods
from tfpbnn.base.by_output import by_output, names_of
from tfpbnn.base.types import Array, Tree
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction import averages
from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive

T = TypeVar("T")
_LOSS = "`likelihood` (or the compiled loss)"


class Piece(NamedTuple):
    """What was collected of some rows.

    Attributes:
        parts: for each output that has a loss its draws, or the averages.
        masks: for each of these Keras's mask, `[B, ...]`, or None.
    """

    parts: list[Any]
    masks: list[Array | None]


class Collector:
    """Collects outputs, or averages over draws, of each piece of rows.

    A model has one output, or several in a list or dict; the predictions come
    in the same structure. Outputs without a loss are passed over.

    Attributes:
        names: of the outputs that have a loss, once something was collected.
    """

    def __init__(self, loss: Any, names: list[str], keep_draws: bool):
        """Begins with nothing.

        Args:
            loss: a likelihood or Keras loss, or one for each output.
            names: of the model's outputs, as Keras has them.
            keep_draws: whether outputs are kept, or averages only.
        """
        self._loss = loss
        self._keep_draws = keep_draws
        self._structure: Tree = None
        self._likelihoods: list[Likelihood | None] = []
        self.all_names = names
        self.names: list[str] = []

    def collect(self, pieces: Iterator[Tree], masks: list[Any]) -> Piece:
        """Collects one piece of rows: outputs, or their averages over draws.

        Args:
            pieces: outputs of some draws after another, `[d, B, ..., P]`.
            masks: Keras's mask of each output, `[B, ...]`, or None.
        """
        kept: list[list[Any]] = []
        for outputs in pieces:
            leaves = keras.tree.flatten(outputs)
            if not self._likelihoods:
                self._begin(outputs)
            pairs = self._with_loss(leaves)
            for y, likelihood in pairs:
                likelihood.check_outputs(y)
            kept.append(
                [y for y, _ in pairs]
                if self._keep_draws
                else [self._average(y, likelihood) for y, likelihood in pairs]
            )
        join = _joined if self._keep_draws else averages.merge
        parts = [join(parts) for parts in zip(*kept, strict=True)]
        return Piece(parts, [mask for mask, _ in self._with_loss(masks)])

    def _begin(self, outputs: Tree) -> None:
        """Learns what the outputs are."""
        self._structure = keras.tree.map_structure(lambda _: 0, outputs)
        self.all_names = names_of(outputs, self.all_names)
        leaves = keras.tree.flatten(outputs)
        self._likelihoods = resolve(
            self._loss, self.all_names, [y.shape[-1] for y in leaves]
        )
        self.names = [name for name, _ in self._with_loss(self.all_names)]

    def _with_loss(self, by_output: Sequence[T]) -> list[tuple[T, Likelihood]]:
        """What belongs to the outputs that have a loss, with their losses."""
        return [
            (one, likelihood)
            for one, likelihood in zip(
                by_output, self._likelihoods, strict=True
            )
            if likelihood is not None
        ]

    def predictives(
        self, pieces: list[Piece], num_samples: int, draws: str
    ) -> dict[str, Predictive]:
        """The predictions, by their outputs, from what was collected."""
        parts = zip(*(piece.parts for piece in pieces), strict=True)
        masks = zip(*(piece.masks for piece in pieces), strict=True)
        return {
            name: self._join(of_rows, mask, likelihood, num_samples, draws)
            for (name, likelihood), of_rows, mask in zip(
                self._with_loss(self.all_names), parts, masks, strict=True
            )
        }

    def packed(self, found: Mapping[str, Predictive]) -> Tree:
        """The predictions in the structure of the model's outputs.

        Where an output has no loss, a dict has no entry and a list has None.
        """
        flat = [found.get(name) for name in self.all_names]
        packed = keras.tree.pack_sequence_as(self._structure, flat)
        if isinstance(packed, Mapping):
            return {k: v for k, v in packed.items() if v is not None}
        return packed

    def _join(
        self,
        parts: tuple[Any, ...],
        masks: tuple[Any, ...],
        likelihood: Likelihood,
        num_samples: int,
        draws: str,
    ) -> Predictive:
        mask = None if masks[0] is None else np.concatenate(masks)
        if self._keep_draws:
            outputs = _joined(parts, axis=1)
            return _kind(likelihood)(outputs, likelihood, draws, mask)
        averages = tuple(map(_joined, zip(*parts, strict=True)))
        return _kind(likelihood).without_draws(
            num_samples, averages, likelihood, draws, mask=mask
        )

    def _average(
        self, outputs: Array, likelihood: Likelihood
    ) -> tuple[int, tuple[Array, ...]]:
        p = _kind(likelihood)(outputs, likelihood)
        return p.num_samples, p.summaries


def resolve(
    loss: Any, names: Sequence[str], sizes: Sequence[int]
) -> list[Likelihood | None]:
    """The likelihood of each output; None for outputs without a loss.

    Args:
        loss: a likelihood or Keras loss for all outputs; or one for each, in a
            list, where it may be None, or in a dict, where it may be missing.
        names: of the outputs.
        sizes: of their last axes.

    Raises:
        ValueError: if there are losses for other outputs, or for none.
    """
    if isinstance(loss, Mapping):
        losses = by_output(_LOSS, {**dict.fromkeys(names), **loss}, names)
    elif isinstance(loss, list | tuple):
        losses = keras.tree.flatten(loss)
    else:
        losses = [loss] * len(sizes)
    if len(losses) != len(names):
        raise ValueError(
            f"{_LOSS} must have an entry for each of the model's {len(names)} "
            f"outputs, {list(names)}. Received: {len(losses)}"
        )
    if all(one is None for one in losses):
        raise ValueError(
            f"{_LOSS} must have an entry for one of the model's outputs, "
            f"{list(names)}. Received: {loss!r}"
        )
    return [
        None if one is None else likelihoods.from_loss(one, size)
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
