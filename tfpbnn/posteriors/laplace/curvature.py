"""Sums the curvature of a log-likelihood over data, and makes blocks of it."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.keras_private import mask_of
from tfpbnn.base.types import Array, Tensor
from tfpbnn.likelihoods import Likelihood
from tfpbnn.likelihoods.places import places_of
from tfpbnn.networks.reading import open_spec
from tfpbnn.particles.functions import TRACING
from tfpbnn.posteriors.laplace import hessians, kept
from tfpbnn.posteriors.laplace.batches import Batch
from tfpbnn.posteriors.laplace.blocks import Block
from tfpbnn.posteriors.laplace.slopes import Traced, compiled, misread
from tfpbnn.posteriors.laplace.structures import (
    BatchSlopes,
    Structure,
    num_elements,
)

# A Hessian with a negative eigenvalue of a larger share is none of a maximum.
_NEGATIVE = -1e-3


class Fitted(NamedTuple):
    """What one pass over data gives.

    Attributes:
        blocks: the curvature.
        log_likelihood: of all data, at the network's weights.
        by_row: the weights whose slopes were taken row by row.
    """

    blocks: list[Block]
    log_likelihood: float
    by_row: frozenset[int]


class Target(NamedTuple):
    """Targets of one output in a graph.

    Attributes:
        outputs: `[B, ..., P]`, harmless where nothing counts.
        y: targets.
        weights: of the places, `[B, ...]`; 0 where they don't count.
    """

    outputs: Tensor
    y: Tensor
    weights: Tensor


class Curvature:
    """Sums over batches.

    Args:
        network: a built network.
        variables: the random weights.
        names: of all outputs.
        likelihoods: of each output, or None.
        hessian: "ggn", "fisher" or "empirical_fisher".
        read: begins to read the data anew.
    """

    def __init__(
        self,
        network: keras.Model,
        variables: Sequence[keras.Variable],
        names: Sequence[str],
        likelihoods: Sequence[Likelihood | None],
        hessian: str,
        read: Callable[[], Iterator[Batch]],
    ):
        self._network, self._variables = network, list(variables)
        self._names, self._likelihoods = list(names), list(likelihoods)
        self._which = [i for i, like in enumerate(likelihoods) if like]
        self._hessian, self._read = hessian, read
        self._by_row: frozenset[int] | None = None
        self._functions = kept.functions_of(
            network, likelihoods, (hessian, [id(v) for v in variables])
        )
        self._log_likelihood = 0.0

    def fitted(self, structure: Structure) -> Fitted:
        """Reads the data as often as a structure needs it."""

        def total(sums: Callable[..., Any], *state: Array) -> Any:
            return self._total(structure, sums, state)

        blocks = structure.fit(total, num_elements(self._variables))
        assert self._by_row is not None
        return Fitted(blocks, self._log_likelihood, self._by_row)

    def _total(
        self, structure: Structure, sums: Callable[..., Any], state: Any
    ) -> Any:
        """Sums over all batches, of which each is read once."""
        total: Any = None
        for batch in self._read():
            if self._by_row is None:
                by_row = self._once("by row", self._misread, batch.x)
                structure.check(self._variables, by_row)
                self._by_row = by_row
            make = functools.partial(self._compiled, sums)
            function = self._once(sums.__qualname__, make, *batch, list(state))
            found = function(*batch, list(state))
            self._check(float(found.pop("share")))
            total = _added(total, found)
        if total is None:
            raise ValueError(
                "`x` must have one row or more. Received: none"
                if self._by_row is None
                else "`x` must be data that can be read again: this "
                "`structure` takes several passes. Received: rows that are "
                "there only once, as a generator's. Use arrays, a dataset "
                "or a PyDataset"
            )
        if not total["weight"] > 0:
            raise ValueError(
                "`y` must have a place that counts. Received: targets of which "
                "all are masked, ignored or of weight 0"
            )
        self._check_sums(total)
        self._log_likelihood = float(total["log_likelihood"])
        return total["sums"]

    def _once(
        self, name: str, make: Callable[..., Any], x: Any, *rest: Any
    ) -> Any:
        """Makes something for data like these, or finds it where it is kept."""
        spec = keras.tree.map_structure(repr, open_spec(self._network, x))
        kinds = [(a.shape[1:], a.dtype) for a in keras.tree.flatten(rest)]
        key = repr((name, spec, kinds))
        with TRACING:
            if key not in self._functions:
                self._functions[key] = make(x, *rest)
            return self._functions[key]

    def _misread(self, x: Any) -> frozenset[int]:
        return misread(self._network, self._variables, self._which, x)

    def _compiled(
        self,
        sums: Callable[..., Any],
        x: Any,
        y: list[Array],
        weights: list[Array],
        state: Any,
    ) -> Any:
        by_row = self._by_row or frozenset()
        given = x, y, weights, state
        # Targets with as many axes as the outputs have a known number of them.
        sizes = [one.shape[-1] for one in y]

        def function(
            x: Any, y: list[Tensor], weights: list[Tensor], state: list[Tensor]
        ) -> Any:
            traced = Traced(self._network, self._variables, by_row, x)
            targets = [
                self._target(traced, i, *own)
                for i, *own in zip(self._which, y, weights, sizes, strict=True)
            ]
            columns, share = self._columns(targets)
            rows = tf.reduce_max([_row_weights(t.weights) for t in targets], 0)
            one = targets[0].weights if len(targets) == 1 else None
            return {
                "sums": sums(
                    BatchSlopes(
                        traced.weights(self._which, columns), rows, one
                    ),
                    *_cast(state, traced.values[0].dtype),
                ),
                "share": share,
                "log_likelihood": tf.add_n(
                    [
                        tf.reduce_sum(t.weights * self._log_prob(i, t))
                        for i, t in zip(self._which, targets, strict=True)
                    ]
                ),
                "weight": tf.reduce_sum(rows),
            }

        return compiled(function, self._network, *given)

    def _log_prob(self, index: int, target: Target) -> Tensor:
        likelihood: Any = self._likelihoods[index]
        return likelihood.log_prob(target.y, target.outputs)

    def _target(
        self, traced: Traced, index: int, y: Tensor, weights: Tensor, size: int
    ) -> Target:
        likelihood: Any = self._likelihoods[index]
        output = traced.outputs[index]
        mask = mask_of(output)
        output = tf.cast(tf.identity(output), traced.values[0].dtype)
        if len(y.shape) == len(output.shape):
            y = tf.ensure_shape(y, [*y.shape[:-1], size])
        places = places_of(output, mask, weights, type(likelihood).__name__)
        places = places.without(likelihood.ignored(y, output), output)
        y, output = places.filled(y, output)
        shape = tf.shape(output)[:-1]
        found = places.weights
        if found is None:
            found = places.row_weights
            ones = [1] * (len(output.shape) - 2)
            found = tf.reshape(found, [-1, *ones])
        found = tf.broadcast_to(found, shape)
        if places.counted is not None:
            found = tf.where(places.counted, found, tf.zeros_like(found))
        return Target(output, y, found)

    def _columns(self, targets: list[Target]) -> tuple[list[Tensor], Tensor]:
        """The combinations of outputs whose squares make the curvature."""
        if self._hessian == "empirical_fisher":
            return self._scores(targets), tf.constant(0.0)
        factors, shares = [], []
        for index, target in zip(self._which, targets, strict=True):
            likelihood: Any = self._likelihoods[index]
            if hessians.has_fisher(likelihood):
                factor = hessians.fisher_factor(likelihood, target.outputs)
            else:
                factor, share = hessians.observed_factor(
                    likelihood, target.outputs, target.y
                )
                kept = tf.where(target.weights > 0, share, 0)
                shares.append(tf.cast(tf.reduce_min(kept), tf.float32))
            factors.append(factor * tf.sqrt(target.weights)[..., None, None])
        share = tf.reduce_min(shares) if shares else tf.constant(0.0)
        return _joined([_by_place(factor) for factor in factors]), share

    def _scores(self, targets: list[Target]) -> list[Tensor]:
        """The gradient of each row's log-likelihood, as its one column.

        What has weight w counts as w times: with the square of its gradient,
        not of w times its gradient.
        """
        found = []
        for index, target in zip(self._which, targets, strict=True):
            likelihood: Any = self._likelihoods[index]
            score = hessians.score(likelihood, target.outputs, target.y)
            found.append((score * tf.sqrt(target.weights)[..., None])[None])
        return found

    def _check(self, share: float) -> None:
        if share >= _NEGATIVE:
            return
        names = [
            f"{name!r} ({type(like).__name__})"
            for name, like in zip(self._names, self._likelihoods, strict=True)
            if like is not None and not hessians.has_fisher(like)
        ]
        raise ValueError(
            "`hessian` must be positive: that of the log-likelihood in the "
            f"output {', '.join(names)} is not, at some targets, and so that "
            f"of {self._variables[-1].path} may not be. (The Fisher "
            "information, which always is, has no closed form there.) Use "
            "hessian='empirical_fisher', or train the model until it fits "
            f"these targets. Received: hessian={self._hessian!r}"
        )

    def _check_sums(self, total: Any) -> None:
        leaves = keras.tree.flatten(total)
        if not all(np.all(np.isfinite(leaf)) for leaf in leaves):
            raise ValueError(
                "`model` must have finite outputs and slopes for all rows of "
                "x. Received: NaN or infinity among them. See whether "
                "model.predict(x) is finite, and whether weights are"
            )


def _row_weights(weights: Tensor) -> Tensor:
    axes = list(range(1, len(weights.shape)))
    return tf.reduce_max(weights, axes)


def _by_place(factor: Tensor) -> Tensor:
    """Columns of which each is of one place: `[T * C, B, ..., P]`.

    Args:
        factor: `[B, ..., P, C]`.
    """
    shape = tf.shape(factor)
    inner = shape[1:-2]
    places = tf.reduce_prod(inner)
    flat = tf.reshape(factor, [shape[0], places, shape[-2], shape[-1]])
    if len(factor.shape) == 3:
        return tf.transpose(factor, [2, 0, 1])
    eye = tf.eye(places, dtype=factor.dtype)
    found = tf.einsum("btpc,ts->scbtp", flat, eye)
    full = tf.concat([[places * shape[-1]], shape[:1], inner, shape[-2:-1]], 0)
    return tf.reshape(found, full)


def _joined(columns: list[Tensor]) -> list[Tensor]:
    """Pads each output's columns with zeros for those of the others."""
    if len(columns) == 1:
        return columns
    counts = [tf.shape(c)[0] for c in columns]
    found = []
    for index, column in enumerate(columns):
        before = tf.add_n([0 * counts[0], *counts[:index]])
        after = tf.add_n([0 * counts[0], *counts[index + 1 :]])
        pads = [[before, after]] + [[0, 0]] * (len(column.shape) - 1)
        found.append(tf.pad(column, pads))
    return found


def _cast(state: list[Tensor], dtype: tf.DType) -> list[Tensor]:
    return [tf.cast(t, dtype) if t.dtype.is_floating else t for t in state]


def _added(total: Any, found: Any) -> Any:
    """Adds tensors to sums in float64, which are made if there are none."""
    if total is None:
        return keras.tree.map_structure(
            lambda one: np.array(one, "float64"), found
        )
    return keras.tree.map_structure(
        lambda one, new: np.add(one, new, out=one), total, found
    )
