"""Turns a model's outputs, which come in pieces, into predictions."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import keras
import tensorflow as tf

from tfpbnn import likelihoods
from tfpbnn.base.by_output import by_output, names_of
from tfpbnn.base.padding import joined, joined_masks
from tfpbnn.base.types import Array, Tree
from tfpbnn.likelihoods import Likelihood
from tfpbnn.prediction import averages
from tfpbnn.prediction.results import classification, recalibrated
from tfpbnn.prediction.results.base import Predictive
from tfpbnn.prediction.results.classification import ClassificationPredictive
from tfpbnn.prediction.results.regression import RegressionPredictive

T = TypeVar("T")
_LOSS = "`likelihood` (or the compiled loss)"


class Taken(NamedTuple):
    """Holds what is kept of some draws of some rows.

    Attributes:
        kept: for each output that has a loss its draws, or their averages.
        places: for each of these the shape `(B, ...)` of what masks are of.
    """

    kept: list[Any]
    places: list[tuple[int, ...]]


class Piece(NamedTuple):
    """Holds what was collected of some rows.

    Attributes:
        parts: for each output that has a loss its draws, or the averages.
        masks: for each of these Keras's mask, `[B, ...]`, or None.
        places: for each of these the shape `(B, ...)` of what masks are of.
    """

    parts: list[Any]
    masks: list[Array | None]
    places: list[tuple[int, ...]]


class Collector:
    """Collects outputs, or averages over draws, of each piece of rows.

    A model has one output, or several in a list or dict; the predictions come
    in the same structure. Outputs without a loss are passed over.

    Attributes:
        names: of the outputs that have a loss, once something was collected.
    """

    def __init__(self, loss: Any, names: list[str], keep_draws: bool):
        """Makes a collector that has collected nothing yet.

        Args:
            loss: a likelihood or Keras loss, or one for each output.
            names: of the model's outputs, as Keras has them.
            keep_draws: whether outputs are kept, or averages only.
        """
        self._loss = loss
        self._keep_draws = keep_draws
        self._structure: Tree = None
        self._likelihoods: list[Likelihood | None] = []
        self._lock = threading.Lock()
        self.all_names = names
        self.names: list[str] = []

    def take(self, outputs: Tree) -> Taken:
        """Takes what is kept of some draws: outputs, or their averages.

        Several threads may call it.

        Args:
            outputs: of some draws `[d, B, ..., P]`.
        """
        with self._lock:
            if not self._likelihoods:
                self._begin(outputs)
        pairs = self._with_loss(keras.tree.flatten(outputs))
        for y, likelihood in pairs:
            likelihood.check_outputs(y)
        kept = (
            [y for y, _ in pairs]
            if self._keep_draws
            else [self._average(y, likelihood) for y, likelihood in pairs]
        )
        return Taken(kept, [tuple(y.shape[1:-1]) for y, _ in pairs])

    def piece(self, taken: Sequence[Taken], masks: list[Any]) -> Piece:
        """Joins what was taken of all draws of the same rows.

        Args:
            taken: of some draws after another.
            masks: Keras's mask of each output, `[B, ...]`, or None.
        """
        join = joined if self._keep_draws else averages.merge
        kept = zip(*(one.kept for one in taken), strict=True)
        of_parts = [mask for mask, _ in self._with_loss(masks)]
        return Piece(
            [join(parts) for parts in kept], of_parts, taken[-1].places
        )

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
        """Pairs the entries of outputs that have a loss with their losses."""
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
        """Returns the predictions by output, from what was collected."""
        parts = zip(*(piece.parts for piece in pieces), strict=True)
        masks = zip(*(piece.masks for piece in pieces), strict=True)
        places = zip(*(piece.places for piece in pieces), strict=True)
        return {
            name: self._join(
                of_rows,
                joined_masks(mask, place),
                likelihood,
                num_samples,
                draws,
            )
            for (name, likelihood), of_rows, mask, place in zip(
                self._with_loss(self.all_names),
                parts,
                masks,
                places,
                strict=True,
            )
        }

    def packed(self, found: Mapping[str, Predictive]) -> Tree:
        """Returns the predictions in the structure of the model's outputs.

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
        mask: Array | None,
        likelihood: Likelihood,
        num_samples: int,
        draws: str,
    ) -> Predictive:
        if self._keep_draws:
            outputs = joined(parts, axis=1)
            return _kind(likelihood)(outputs, likelihood, draws, mask)
        averages = tuple(map(joined, zip(*parts, strict=True)))
        if likelihood.of_mixture is not None:
            wide = (tf.constant(part, tf.float64) for part in averages)
            mapped = classification.mapped(likelihood, tuple(wide))
            averages = tuple(part.numpy() for part in mapped)
        return _kind(likelihood).without_draws(
            num_samples, averages, likelihood, draws, mask=mask
        )

    def _average(
        self, outputs: Array, likelihood: Likelihood
    ) -> tuple[int, tuple[Array, ...]]:
        mapped = likelihood.of_mixture
        if mapped is not None and not likelihood.is_classification:
            raise ValueError(
                "`keep_draws` must be True for predictions of which "
                f"{mapped} maps the distribution function, which averages "
                "don't tell. Received: keep_draws=False"
            )
        if mapped is not None:  # not before all draws are averaged over
            likelihood = recalibrated.of_draws(likelihood)
        p = _kind(likelihood)(outputs, likelihood)
        return p.num_samples, p.summaries


def resolve(
    loss: Any, names: Sequence[str], sizes: Sequence[int]
) -> list[Likelihood | None]:
    """Returns the likelihood of each output; None for one without a loss.

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


def _kind(likelihood: Likelihood) -> type[Predictive]:
    if likelihood.is_classification:
        return ClassificationPredictive
    return RegressionPredictive
