"""Keeps the slopes of rows in one weight in the form that they are found in."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.posteriors.laplace.uses import Use

# Products of fewer columns are as fast whole.
_LARGE = 256


@dataclasses.dataclass(frozen=True)
class WeightSlopes:
    """The slopes of C combinations of outputs in a weight of D elements.

    Attributes:
        uses: the operations that the weight is part of; None where the slopes
            were taken row by row.
        slopes: those in the outputs of each use, `[C, B, T, O]`.
        by_row: the Jacobian `[C, B, D]` if there are no uses; else None.
    """

    uses: list[Use] | None
    slopes: Sequence[Tensor] = ()
    by_row: Tensor = None

    @property
    def num_elements(self) -> int:
        """The number D of elements of the weight."""
        if self.uses is None:
            return self.by_row.shape[-1]
        return math.prod(self.uses[0].sizes)

    @property
    def _pairs(self) -> list[tuple[Use, Tensor]]:
        return list(zip(self.uses or (), self.slopes, strict=True))

    def jacobian(self) -> Tensor:
        """Computes the Jacobian `[C, B, D]`."""
        if self.uses is None:
            return self.by_row
        return tf.add_n([use.jacobian(slope) for use, slope in self._pairs])

    def squares(self) -> Tensor:
        """Computes the sums of squared slopes `[D]`."""

        def of_jacobian() -> Tensor:
            return tf.reduce_sum(self.jacobian() ** 2, axis=[0, 1])

        if not self.uses or len(self.uses) > 1 or self.uses[0].inputs is None:
            return of_jacobian()
        ((use, slope),) = self._pairs
        design = use.design(slope.dtype)

        def of_product() -> Tensor:
            outer = tf.reduce_sum(slope[:, :, 0] ** 2, axis=0)
            squares = tf.linalg.matmul(
                design[:, 0] ** 2, outer, transpose_a=True
            )
            return tf.reshape(squares, [-1])

        # A product that each row has once needs no Jacobian.
        return tf.cond(tf.shape(design)[1] == 1, of_product, of_jacobian)

    def along(self, vectors: Tensor) -> Tensor:
        """Multiplies the Jacobian with vectors `[D, K]`, to `[C, B, K]`."""
        if self.uses is None:
            return tf.tensordot(self.by_row, vectors, 1)
        return tf.add_n(
            [use.along(slope, vectors) for use, slope in self._pairs]
        )

    def back(self, factors: Tensor) -> Tensor:
        """Multiplies factors `[C, B, K]` with the Jacobian, to `[D, K]`."""
        if self.uses is None:
            return tf.tensordot(self.by_row, factors, [[0, 1], [0, 1]])
        return tf.add_n(
            [use.back(slope, factors) for use, slope in self._pairs]
        )

    @property
    def is_product(self) -> bool:
        """Says whether all uses are products with rows, or all lookups."""
        if not self.uses:
            return False
        same = len({use.sizes for use in self.uses}) == 1
        kinds = {use.ids is not None for use in self.uses}
        has_rows = all(
            use.ids is not None or use.inputs is not None for use in self.uses
        )
        return same and len(kinds) == 1 and has_rows

    def factors(self, rows: Tensor, places: Tensor | None) -> dict[str, Tensor]:
        """Sums products of the inputs, and of the slopes of the outputs.

        Args:
            rows: weights of the rows, `[B]`.
            places: weights of the places of outputs, `[B, ...]`, or None.

        Returns:
            "inner", `[I, I]` or, of lookups, its diagonal `[I]`; "outer", `[O,
            O]`; and "count", the sum of the weights.
        """
        inner, outer, counts = [], [], []
        for use, slope in self._pairs:
            found = use.ids if use.ids is not None else use.inputs
            weights = _of_steps(tf.shape(found)[:2], rows, places)
            inner.append(_inner(use, weights, slope.dtype))
            outer.append(outer_products(slope))
            counts.append(tf.reduce_sum(weights))
        return {
            "inner": tf.add_n(inner),
            "outer": tf.add_n(outer),
            "count": tf.add_n(counts),
        }


def _inner(use: Use, weights: Tensor, dtype: tf.DType) -> Tensor:
    if use.ids is not None:
        flat = tf.reshape(weights, [-1]), tf.reshape(use.ids, [-1])
        return tf.math.unsorted_segment_sum(*flat, use.sizes[0])
    return outer_products(use.design(dtype) * tf.sqrt(weights)[..., None])


def _of_steps(shape: Tensor, rows: Tensor, places: Tensor | None) -> Tensor:
    """Weights `[B, T]` of steps: those of places, if there are as many."""
    by_row = tf.broadcast_to(rows[:, None], shape)
    if places is None:
        return by_row
    flat = tf.reshape(places, [tf.shape(rows)[0], -1])
    return tf.cond(tf.shape(flat)[1] == shape[1], lambda: flat, lambda: by_row)


def outer_products(vectors: Tensor) -> Tensor:
    """Computes the sum of the outer products of vectors `[..., D]`."""
    size = vectors.shape[-1]
    flat = tf.reshape(vectors, [-1, size or tf.shape(vectors)[-1]])
    if size is None or size < _LARGE:
        return tf.linalg.matmul(flat, flat, transpose_a=True)
    # It is symmetric: a quarter of the products is known from the others.
    half = size // 2
    top = tf.linalg.matmul(flat[:, :half], flat, transpose_a=True)
    right = flat[:, half:]
    corner = tf.linalg.matmul(right, right, transpose_a=True)
    bottom = tf.concat([tf.transpose(top[:, half:]), corner], axis=1)
    return tf.concat([top, bottom], axis=0)
