"""Reads the data of a curvature a batch at a time."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfpbnn.base import data
from tfpbnn.base.by_output import by_output, one_or_each
from tfpbnn.base.places import weights_of
from tfpbnn.base.types import Array
from tfpbnn.likelihoods import Likelihood
from tfpbnn.networks import missing, reading
from tfpbnn.networks.calls import may_be_masked
from tfpbnn.networks.masks import OutputMasks
from tfpbnn.training import data_checks


class Batch(NamedTuple):
    """B rows.

    Attributes:
        x: inputs.
        y: the targets of each output that has a likelihood.
        weights: their weights, of rows `[B]` or of places `[B, ...]`.
    """

    x: Any
    y: list[Array]
    weights: list[Array]


class Batches:
    """Reads batches as often as they are needed.

    Args:
        network: takes the inputs.
        names: of all its outputs.
        outputs: its outputs for some rows, or symbols of them.
        likelihoods: of each output, or None.
        shares: what the log-likelihood of an output is multiplied with, by the
            names of those that have one.
        dtype: of weights.
    """

    def __init__(
        self,
        network: Any,
        names: list[str],
        outputs: list[Any],
        likelihoods: list[Likelihood | None],
        shares: Mapping[str, float],
        dtype: str,
    ):
        self._network, self._names, self._dtype = network, names, dtype
        self._shares = shares
        is_masked = any(may_be_masked(network, outputs))
        self._masks = OutputMasks(network) if is_masked else None
        parts = zip(names, outputs, likelihoods, strict=True)
        self._scored = [(n, y, like) for n, y, like in parts if like]

    def over(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int
    ) -> Iterator[Batch]:
        """Yields the batches of data in the forms that `fit` takes.

        Raises:
            TypeError: if data have no known form.
            ValueError: if there are no rows or targets, if these don't fit, or
                if a target is none that its likelihood can give.
        """
        if data.is_stream(x):
            data.num_batches(x, batch_size)  # raises if there is no end
            if y is not None or sample_weight is not None:
                raise ValueError(
                    "`y` and `sample_weight` must be None if x is a dataset, "
                    "which brings them. Received: both x and one of these"
                )
            for inputs, targets, weights in data.weighted_batches(
                x, batch_size
            ):
                missing.check_inputs(self._network, inputs)
                yield self._batch(inputs, targets, weights)
            return
        names = reading.input_names(self._network)
        x = data.as_rows("x", x, names, is_finite=False)
        missing.check_inputs(self._network, x)
        whole = self._batch(x, y, sample_weight)
        for start in range(0, data.length(whole.x), batch_size):
            stop = start + batch_size
            yield Batch(
                data.rows(whole.x, start, stop),
                [one[start:stop] for one in whole.y],
                [one[start:stop] for one in whole.weights],
            )

    def _batch(self, x: Any, y: Any, sample_weight: Any) -> Batch:
        if y is None:
            raise ValueError(
                "`y` must be given, unless x is a dataset of (x, y) batches. "
                "Received: y=None"
            )
        x = reading.by_input(self._network, x)
        needed = [name for name, _, _ in self._scored]
        given = [
            target
            for name, target in zip(
                self._names,
                by_output("`y`", y, self._names, needed),
                strict=True,
            )
            if name in needed
        ]
        weights = one_or_each(
            "`sample_weight`", sample_weight, self._names, needed
        )
        by_name = dict(zip(self._names, weights, strict=True))
        rows, masks = data.length(x), self._masks_of(x)
        pairs = [
            self._checked(
                np.asarray(target), by_name[name], masks[name], rows, out, like
            )
            for target, (name, out, like) in zip(
                given, self._scored, strict=True
            )
        ]
        weighed = [
            (weights * self._shares[name]).astype(self._dtype)
            for (_, weights), (name, *_) in zip(
                pairs, self._scored, strict=True
            )
        ]
        return Batch(x, [y for y, _ in pairs], weighed)

    def _masks_of(self, x: Any) -> dict[str, Any]:
        """The mask of each output, or None."""
        if self._masks is None:
            return dict.fromkeys(self._names)
        found = self._masks.of_rows(x)
        return dict(zip(self._names, found, strict=True))

    def _checked(
        self,
        y: Array,
        weight: Any,
        mask: Any,
        rows: int,
        output: Any,
        likelihood: Any,
    ) -> tuple[Array, Array]:
        if not y.ndim or len(y) != rows:
            raise ValueError(
                "`y` must have as many rows as x. Received: y of shape "
                f"{y.shape}, and {rows} rows of x"
            )
        # Outputs of other numbers of steps have other places in each batch.
        sizes = tuple(output.shape[1:-1])
        rank = len(sizes)
        known = y.shape[1 : 1 + rank] if None in sizes else sizes
        weights = weights_of(weight, (rows, *known))
        counted = data_checks.counted(y, weights, mask, likelihood, output)
        if weights is None:
            weights = np.ones(rows)
        return counted, weights
