"""Defines how much of a curvature is kept: its diagonal, factors, or all.

To add one: a subclass of `Structure`, and its name in `STRUCTURES`.
"""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.posteriors.laplace import blocks
from tfpbnn.posteriors.laplace.blocks import Block
from tfpbnn.posteriors.laplace.slopes import Traced, joined
from tfpbnn.posteriors.laplace.uses import Use
from tfpbnn.prediction.pieces import free_memory

# A dense block of larger weights takes minutes to decompose.
_LARGEST = 8192


class Structure(abc.ABC):
    """A part of the curvature that is summed over batches."""

    @abc.abstractmethod
    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        """Raises if there is not enough memory."""

    @abc.abstractmethod
    def sums(
        self,
        traced: Traced,
        which: Sequence[int],
        columns: Sequence[Tensor],
        rows: Tensor,
        places: Tensor | None,
    ) -> Any:
        """Computes a batch's part, in a graph.

        Args:
            traced: the network's run.
            which: the outputs that have a likelihood.
            columns: the combinations of these whose squares are summed.
            rows: weights of the rows, `[B]`.
            places: weights of the places of outputs, `[B, ...]`; None if there
                are several outputs.
        """

    @abc.abstractmethod
    def blocks(self, sums: Any) -> list[Block]:
        """Makes blocks of the sums over all batches, in NumPy."""


class Diagonal(Structure):
    """Each weight by itself."""

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        """Never raises: it is as small as the weights."""

    def sums(
        self,
        traced: Traced,
        which: Sequence[int],
        columns: Sequence[Tensor],
        rows: Tensor,
        places: Tensor | None,
    ) -> list[Tensor]:
        found = traced.row_by_row(which, columns)
        slopes = traced.by_use(which, columns)
        return [
            _squares(uses, slope, jacobian)
            for uses, slope, jacobian in zip(
                traced.uses, slopes, found, strict=True
            )
        ]

    def blocks(self, sums: Any) -> list[Block]:
        return [blocks.diagonal((i,), one) for i, one in enumerate(sums)]


def _squares(
    uses: list[Use] | None, slopes: list[Tensor] | None, found: Tensor | None
) -> Tensor:
    """The sums of squared slopes `[D]`."""

    def of_jacobian() -> Tensor:
        return tf.reduce_sum(joined(uses, slopes, found) ** 2, axis=[0, 1])

    use = uses[0] if uses and len(uses) == 1 else None
    if use is None or use.inputs is None or not slopes:
        return of_jacobian()
    design, slope = use.design(slopes[0].dtype), slopes[0]

    def of_product() -> Tensor:
        outer = tf.reduce_sum(slope[:, :, 0] ** 2, axis=0)
        squares = tf.linalg.matmul(design[:, 0] ** 2, outer, transpose_a=True)
        return tf.reshape(squares, [-1])

    # A product that each row has once needs no Jacobian.
    return tf.cond(tf.shape(design)[1] == 1, of_product, of_jacobian)


class Full(Structure):
    """All weights with all."""

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        size = sum(v.value.shape.num_elements() for v in variables)
        _check_memory(size, "full", "'kron' or 'diag'")

    def sums(
        self,
        traced: Traced,
        which: Sequence[int],
        columns: Sequence[Tensor],
        rows: Tensor,
        places: Tensor | None,
    ) -> Tensor:
        jacobians = traced.jacobians(which, columns)
        return _outer(tf.concat(jacobians, axis=-1))

    def blocks(self, sums: Any) -> list[Block]:
        # Its weights are all of them: the posterior knows how many.
        return [blocks.dense((), sums)]


class Kronecker(Structure):
    """A product of two small matrices for each kernel.

    What is no kernel, such as a bias, has all of its own curvature.
    """

    def check(
        self, variables: Sequence[keras.Variable], by_row: frozenset[int]
    ) -> None:
        for index in sorted(by_row):
            size = variables[index].value.shape.num_elements()
            if size > _LARGEST:
                raise ValueError(
                    "`structure` must fit the weights: how "
                    f"{variables[index].path} is applied is no product with "
                    f"the rows, so that 'kron' needs all {size} x {size} "
                    "elements of its curvature. Received: structure='kron'. "
                    "Use 'diag', or leave this weight out of `subset`"
                )

    def sums(
        self,
        traced: Traced,
        which: Sequence[int],
        columns: Sequence[Tensor],
        rows: Tensor,
        places: Tensor | None,
    ) -> list[Any]:
        found = traced.row_by_row(which, columns)
        slopes = traced.by_use(which, columns)
        parts = []
        for uses, slope, jacobian in zip(
            traced.uses, slopes, found, strict=True
        ):
            if uses is not None and _are_products(uses):
                assert slope is not None
                parts.append(_factors(uses, slope, rows, places))
            else:
                parts.append({"all": _outer(joined(uses, slope, jacobian))})
        return parts

    def blocks(self, sums: Any) -> list[Block]:
        found = []
        for index, part in enumerate(sums):
            if "all" in part:
                found.append(blocks.dense((index,), part["all"]))
                continue
            outer = part["outer"] / np.maximum(part["count"], 1e-30)
            found.append(blocks.product((index,), part["inner"], outer))
        return found


def _are_products(uses: list[Use]) -> bool:
    same = len({use.sizes for use in uses}) == 1
    kinds = {use.ids is not None for use in uses}
    has_rows = all(u.ids is not None or u.inputs is not None for u in uses)
    return same and len(kinds) == 1 and has_rows


def _factors(
    uses: list[Use],
    slopes: list[Tensor],
    rows: Tensor,
    places: Tensor | None,
) -> dict[str, Tensor]:
    """Sums of products of the inputs, and of the slopes of the outputs."""
    inner, outer, counts = [], [], []
    for use, slope in zip(uses, slopes, strict=True):
        ids_or_inputs = use.ids if use.ids is not None else use.inputs
        assert ids_or_inputs is not None
        weights = _of_steps(tf.shape(ids_or_inputs)[:2], rows, places)
        if use.ids is not None:
            counted = tf.math.unsorted_segment_sum(
                tf.reshape(weights, [-1]),
                tf.reshape(use.ids, [-1]),
                use.sizes[0],
            )
            inner.append(counted)
        else:
            design = use.design(slope.dtype)
            design *= tf.sqrt(weights)[..., None]
            inner.append(_outer(design))
        shape = tf.shape(slope)
        outer.append(_outer(tf.reshape(slope, [1, -1, shape[-1]])))
        counts.append(tf.reduce_sum(weights))
    return {
        "inner": tf.add_n(inner),
        "outer": tf.add_n(outer),
        "count": tf.add_n(counts),
    }


def _of_steps(shape: Tensor, rows: Tensor, places: Tensor | None) -> Tensor:
    """Weights `[B, T]` of steps: those of places, if there are as many."""
    by_row = tf.broadcast_to(rows[:, None], shape)
    if places is None:
        return by_row
    flat = tf.reshape(places, [tf.shape(rows)[0], -1])
    return tf.cond(tf.shape(flat)[1] == shape[1], lambda: flat, lambda: by_row)


def _outer(vectors: Tensor) -> Tensor:
    """The sum of outer products of vectors `[.., .., D]`."""
    flat = tf.reshape(vectors, [-1, tf.shape(vectors)[-1]])
    return tf.linalg.matmul(flat, flat, transpose_a=True)


def _check_memory(size: int, structure: str, others: str) -> None:
    needed = 5 * 8 * size**2
    if needed > free_memory():
        raise ValueError(
            f"`structure` must fit the memory: {structure!r} over {size} "
            f"weights needs {needed / 2**30:.1f} GiB, of which "
            f"{free_memory() / 2**30:.1f} are free. Received: "
            f"structure={structure!r}. Use {others}, or a smaller `subset`"
        )


STRUCTURES: dict[str, Structure] = {
    "diag": Diagonal(),
    "full": Full(),
    "kron": Kronecker(),
}
