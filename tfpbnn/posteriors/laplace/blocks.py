"""Defines the pieces of a curvature, by their eigenvalues."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor

# Larger matrices take LAPACK less time than Eigen.
_SMALL = 1024


@dataclasses.dataclass(frozen=True)
class Block:
    """A symmetric matrix over some weights, as eigenvalues and eigenvectors.

    Eigenvectors are products of one orthogonal matrix for each axis of the
    eigenvalues: of two axes this is a Kronecker product, of one any matrix. A
    matrix `[D, K]` with K < D has the first K eigenvectors; eigenvalues are
    then K and, for what is orthogonal to these, D zeros. A prior's precision is
    added to the eigenvalues.

    Attributes:
        weights: which of the random weights it is over, in their order; their
            elements make one vector.
        eigenvalues: 0 or more.
        bases: for each axis its matrix, with vectors in its columns; None for
            the axes themselves.
        elements: the indices of the elements of the vector that the block is
            over; None for all. The others don't vary.
        ratios: of the prior's precision of each element of the vector to that
            of the first; None if they are 1. The matrix is then that of the
            weights times the roots of their ratios.
    """

    weights: tuple[int, ...]
    eigenvalues: Array | Tensor
    bases: tuple[Array | Tensor | None, ...]
    elements: Array | Tensor | None = None
    ratios: Array | Tensor | None = None

    @property
    def is_partial(self) -> bool:
        """Says whether there are fewer eigenvectors than elements."""
        basis = self.bases[0]
        return (
            len(self.bases) == 1
            and basis is not None
            and basis.shape[0] > basis.shape[1]
        )

    def rotated(self, vectors: Tensor) -> Tensor:
        """Turns vectors `[..., D]` to coordinates `[..., *axes]`.

        The squares of the coordinates, each over its precision, add up to the
        variance along a vector.
        """
        if self.ratios is not None:
            vectors /= tf.sqrt(tf.cast(self.ratios, vectors.dtype))
        if self.elements is not None:
            vectors = tf.gather(vectors, self.elements, axis=-1)
        if self.is_partial:
            basis = tf.cast(self.bases[0], vectors.dtype)
            inside = tf.tensordot(vectors, basis, 1)
            outside = vectors - tf.tensordot(inside, tf.transpose(basis), 1)
            return tf.concat([inside, outside], axis=-1)
        axes = tuple(self.eigenvalues.shape)
        leading = tf.shape(vectors)[:-1]
        tensor = tf.reshape(vectors, tf.concat([leading, axes], 0))
        turned = [None if b is None else tf.transpose(b) for b in self.bases]
        return _applied(turned, tensor)

    def restored(self, coordinates: Tensor, size: int) -> Tensor:
        """Turns coordinates `[*axes]` to a vector `[D]`: the transpose."""
        if self.is_partial:
            basis = tf.cast(self.bases[0], coordinates.dtype)
            number = basis.shape[1]
            inside, outside = coordinates[:number], coordinates[number:]
            along = tf.linalg.matvec(basis, outside, transpose_a=True)
            found = outside + tf.linalg.matvec(basis, inside - along)
        else:
            found = tf.reshape(_applied(self.bases, coordinates), [-1])
        return self._rescaled(self._placed(found, size), 0.5)

    def variances(self, precisions: Tensor, size: int) -> Tensor:
        """Computes the variance of each element of the vector, `[D]`.

        Args:
            precisions: in the directions of the eigenvectors, `[*axes]`.
            size: the number D of elements.
        """
        squares: list[Any] = [None if b is None else b**2 for b in self.bases]
        if self.is_partial:
            (square,) = squares
            number = square.shape[1]
            rest = 1 - tf.reduce_sum(square, axis=1)
            found = tf.linalg.matvec(square, 1 / precisions[:number])
            found += rest / precisions[number:]
        else:
            found = tf.reshape(_applied(squares, 1 / precisions), [-1])
        return self._rescaled(self._placed(found, size), 1.0)

    def _placed(self, found: Tensor, size: int) -> Tensor:
        """Puts the block's elements where they are in the vector."""
        if self.elements is None:
            return found
        return tf.scatter_nd(self.elements[:, None], found, [size])

    def _rescaled(self, found: Tensor, power: float) -> Tensor:
        if self.ratios is None:
            return found
        return found / tf.cast(self.ratios, found.dtype) ** power

    def own(self, vector: Array) -> Array:
        """Picks the block's elements `[E]` of a vector `[D]`."""
        return vector if self.elements is None else vector[self.elements]

    def root(self) -> Array:
        """Computes F `[E, K]` of one axis: F F^T is the E elements' curvature.

        In NumPy, without the ratios.
        """
        basis = np.asarray(self.bases[0], "float64")
        values = np.asarray(self.eigenvalues, "float64")[: basis.shape[1]]
        root = basis * np.sqrt(values)
        if self.ratios is None:
            return root
        return root * np.sqrt(self.own(self.ratios))[:, None]

    def weighed(self, ratios: Array) -> "Block":
        """Makes the block of one axis for other ratios, in NumPy."""
        root = self.root() / np.sqrt(self.own(ratios))[:, None]
        vectors, roots, _ = np.linalg.svd(root, full_matrices=False)
        return dataclasses.replace(
            partial(self.weights, roots**2, vectors),
            elements=self.elements,
            ratios=ratios,
        )


def _applied(matrices: Any, tensor: Tensor) -> Tensor:
    """Multiplies the last axes of a tensor with a matrix each."""
    for axis, matrix in enumerate(matrices, -len(matrices)):
        if matrix is None:
            continue
        matrix = tf.cast(matrix, tensor.dtype)
        if axis == -1:
            tensor = tf.tensordot(tensor, matrix, [[-1], [1]])
        else:  # the second to last
            tensor = tf.linalg.matmul(matrix, tensor)
    return tensor


def dense(
    weights: tuple[int, ...], matrix: Array, elements: Array | None = None
) -> Block:
    """Makes the block of a symmetric matrix `[D, D]`."""
    values, vectors = _decomposed(matrix)
    return Block(weights, values, (vectors,), elements)


def diagonal(weights: tuple[int, ...], values: Array) -> Block:
    """Makes the block of a diagonal matrix, from its elements `[D]`."""
    return Block(weights, np.maximum(values, 0), (None,))


def partial(weights: tuple[int, ...], values: Array, vectors: Array) -> Block:
    """Makes the block of some eigenvalues `[K]`, of vectors `[D, K]`."""
    size, number = vectors.shape
    zeros = np.zeros(size if number < size else 0)
    return Block(weights, np.concatenate([values, zeros]), (vectors,))


def product(weights: tuple[int, ...], first: Array, second: Array) -> Block:
    """Makes the block of a Kronecker product.

    Args:
        weights: the one weight, of which the elements are a matrix `[I, O]`.
        first: `[I, I]`, or `[I]` if it is diagonal.
        second: `[O, O]`.
    """
    is_diagonal = first.ndim == 1
    inner, left = (first, None) if is_diagonal else _decomposed(first)
    outer, right = _decomposed(second)
    return Block(weights, inner[:, None] * outer, (left, right))


def _decomposed(matrix: Array) -> tuple[Array, Array]:
    """Computes eigenvalues, of which none is negative, and eigenvectors."""
    if len(matrix) <= _SMALL:
        # NumPy's threads wait for each other where other processes are busy.
        values, vectors = map(np.asarray, tf.linalg.eigh(matrix))
    else:
        values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values, 0), vectors
