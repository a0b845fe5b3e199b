"""Counts in the data of a `fit` what the weight of its KL depends on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data
from tfpbnn.base.by_output import entry_per_output
from tfpbnn.callbacks.divisor import Divisor
from tfpbnn.networks.masks import OutputMasks

# How many rows of arrays are looked at at once for masks.
_ROWS_AT_ONCE = 1024


class Counts(NamedTuple):
    """The counts of an epoch's data.

    Attributes:
        rows: the number of examples.
        divisors: the number that each loss is divided by, in all.
    """

    rows: int
    divisors: list[float]


class TrainingData:
    """The data of a `fit`, read from its arguments.

    Args:
        given: the arguments of `fit`, by name.
    """

    def __init__(self, given: Mapping[str, Any]):
        self._given = given
        self._x = given.get("x")
        self._split = given.get("validation_split") or 0.0
        if given.get("validation_data") is not None:
            self._split = 0.0

    def can_read(self) -> bool:
        """Says whether the data can be read before they are trained on.

        Generators can't, since they give each batch only once.
        """
        leaves = keras.tree.flatten(self._x)
        leaf = next((leaf for leaf in leaves if leaf is not None), None)
        return _is_stream(self._x) or hasattr(leaf, "shape")

    def adds_to(self, part: Divisor) -> bool:
        """Says whether a divisor depends on more than the number of rows."""
        return part.reduction == "sum" or self._must_read(part)

    def example(self) -> tuple[Any, Any]:
        """Returns inputs and targets that tell shapes and dtypes."""
        if isinstance(self._x, tf.data.Dataset):
            spec = self._x.element_spec
            x, y, _ = keras.utils.unpack_x_y_sample_weight(spec)
            return x, y
        if not self.can_read():
            return None, None
        if isinstance(self._x, keras.utils.PyDataset):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(self._x[0])
            return x, y
        return self._x, self._given.get("y")

    def count(
        self,
        model: Any,
        names: Sequence[str],
        divisors: Sequence[Divisor],
        is_part_enough: bool = False,
    ) -> Counts:
        """Counts rows, and what the losses of the outputs are divided by.

        The sizes are known for arrays, and for datasets with equal batches.
        Other data are read once, before they are trained on.

        Args:
            model: the model that is trained.
            names: the names of its outputs, in the order of lists of targets.
            divisors: the divisors of the outputs' losses.
            is_part_enough: whether `steps_per_epoch` batches of endless data
                are enough, since only proportions are needed.

        Raises:
            ValueError: if the number of rows cannot be known.
        """
        known = self._known_sizes()
        if known and not any(map(self._must_read, divisors)):
            rows, batches = known
            each = [part.of_counts(rows, batches) for part in divisors]
            return Counts(rows, each)
        masks = (
            OutputMasks(model)
            if any(part.needs_mask for part in divisors)
            else None
        )
        rows, totals = 0, np.zeros(len(divisors))
        for x, y, weights in self._batches(masks is not None, is_part_enough):
            count = _num_rows(x)
            rows += count
            totals += self._of_batch(divisors, names, (x, y, weights), masks)
        return Counts(rows, self._with_sums(divisors, totals, rows))

    def _must_read(self, part: Divisor) -> bool:
        has_weights = _is_stream(self._x) or any(
            self._given.get(name) is not None
            for name in ("sample_weight", "class_weight")
        )
        by_weights = part.reduction == "mean_with_sample_weight"
        return part.needs_data or (by_weights and has_weights)

    def _known_sizes(self) -> tuple[int, int] | None:
        """Finds the numbers of rows and batches, if sizes alone tell them."""
        if not _is_stream(self._x):
            rows = data.count_examples(self._x, self._split)
            return rows, math.ceil(rows / self._batch_size())
        batches, size = _alike(self._x)
        return (batches * size, batches) if batches and size else None

    def _batch_size(self) -> int:
        return self._given.get("batch_size") or 32

    def _batches(
        self, in_parts: bool, is_part_enough: bool
    ) -> Iterator[tuple[Any, Any, Any]]:
        if _is_stream(self._x):
            steps = self._given.get("steps_per_epoch")
            for element in _elements(self._x, steps, is_part_enough):
                yield keras.utils.unpack_x_y_sample_weight(element)
            return
        arrays = tuple(map(self._given.get, ("x", "y", "sample_weight")))
        rows = data.count_examples(self._x, self._split)
        size = _ROWS_AT_ONCE if in_parts else max(rows, 1)
        for start in range(0, rows, size):
            cut = slice(start, min(rows, start + size))
            x, y, weights = (_cut(part, cut) for part in arrays)
            yield x, y, weights

    def _of_batch(
        self,
        divisors: Sequence[Divisor],
        names: Sequence[str],
        batch: tuple[Any, Any, Any],
        masks: OutputMasks | None,
    ) -> list[float]:
        x, y, weights = batch
        if weights is None and self._given.get("class_weight") is not None:
            weights = _class_weights(y, self._given["class_weight"])
        found = None if masks is None else masks(x)
        pick = dict(
            zip(
                names,
                zip(
                    entry_per_output(y, names, None),
                    entry_per_output(weights, names, weights),
                    entry_per_output(found, names, None),
                    strict=True,
                ),
                strict=True,
            )
        )
        rows = _num_rows(x)
        single = y, weights, found
        return [
            part.of_batch(rows, *pick.get(part.name, single))
            for part in divisors
        ]

    def _with_sums(
        self, divisors: Sequence[Divisor], totals: Any, rows: int
    ) -> list[float]:
        """Counts each batch as 1 for losses of `reduction="sum"`."""
        if _is_stream(self._x):
            return list(map(float, totals))
        batches = math.ceil(rows / self._batch_size())
        return [
            float(part.targets * batches if part.reduction == "sum" else total)
            for part, total in zip(divisors, totals, strict=True)
        ]


def _is_stream(x: Any) -> bool:
    return isinstance(x, tf.data.Dataset | keras.utils.PyDataset)


def _num_rows(x: Any) -> int:
    """Finds the number of rows of a batch's inputs, or of their specs."""
    leaves = keras.tree.flatten(x)
    return next(leaf.shape[0] for leaf in leaves if leaf is not None)


def _alike(x: Any) -> tuple[int, int]:
    """Finds the numbers of batches and of rows in each, if they are known.

    They are 0 if the dataset does not tell them.
    """
    if not isinstance(x, tf.data.Dataset) or int(x.cardinality()) < 0:
        return 0, 0
    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
    return int(x.cardinality()), _num_rows(inputs) or 0


def _elements(x: Any, steps: int | None, is_part_enough: bool) -> Iterator[Any]:
    """Yields the batches of one pass over a stream.

    Raises:
        ValueError: if the end of a pass, and so the number of rows, is unknown.
    """
    if isinstance(x, keras.utils.PyDataset):
        count = x.num_batches or (steps if is_part_enough else None)
        if not count:
            raise data.unknown_length("a PyDataset of unknown length")
        yield from (x[index] for index in range(count))
        return
    is_endless = int(x.cardinality()) == tf.data.INFINITE_CARDINALITY
    is_finite = int(x.cardinality()) >= 0 or not (is_endless or steps)
    if is_finite or (is_part_enough and steps):
        yield from x if is_finite else x.take(steps)
        return
    # Without an end, or with one that only reading on would find.
    read = 0
    if steps and not is_endless:
        for element in x.take(steps + 1):
            read += 1
            if read <= steps:
                yield element
    if not 0 < read <= (steps or 0):
        raise data.unknown_length(
            "a tf.data.Dataset that repeats for ever, or of unknown length, "
            f"with steps_per_epoch={steps}, which may be more or less than "
            "one pass over the rows"
        )


def _cut(part: Any, rows: slice) -> Any:
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else leaf[rows], part
    )


def _class_weights(y: Any, class_weight: Mapping[int, float]) -> Any:
    """Computes the weights that Keras gives rows by their classes."""
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = np.argmax(labels, axis=-1)
    labels = np.round(labels.reshape(len(labels), -1)[:, 0]).astype(int)
    return np.array([class_weight.get(int(label), 1.0) for label in labels])
