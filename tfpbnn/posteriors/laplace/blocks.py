"""Defines the pieces of a curvature, by their eigenvalues."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor


@dataclasses.dataclass(frozen=True)
class Block:
    """A symmetric matrix over some weights, as eigenvalues and eigenvectors.

    Eigenvectors are products of one orthogonal matrix for each axis of the
    eigenvalues: of two axes this is a Kronecker product, of one any matrix. A
    prior's precision is added to the eigenvalues.

    Attributes:
        weights: which of the random weights it is over, in their order; their
            elements make one vector.
        eigenvalues: 0 or more, of as many elements.
        bases: for each axis its matrix, with vectors in its columns; None for
            the axes themselves.
    """

    weights: tuple[int, ...]
    eigenvalues: Array | Tensor
    bases: tuple[Array | Tensor | None, ...]

    def rotated(self, vectors: Tensor) -> Tensor:
        """Turns vectors `[..., D]` to coordinates `[..., *axes]`."""
        return self._turned(vectors, is_back=False)

    def restored(self, coordinates: Tensor) -> Tensor:
        """Turns coordinates `[..., *axes]` to vectors `[..., D]`."""
        found = self._turned(coordinates, is_back=True)
        rank = len(self.bases)
        leading = tf.shape(found)[: len(found.shape) - rank]
        return tf.reshape(found, tf.concat([leading, [-1]], 0))

    def _turned(self, tensor: Tensor, is_back: bool) -> Tensor:
        axes = tuple(self.eigenvalues.shape)
        if not is_back:
            leading = tf.shape(tensor)[:-1]
            tensor = tf.reshape(tensor, tf.concat([leading, axes], 0))
        for axis, basis in enumerate(self.bases, -len(self.bases)):
            if basis is None:
                continue
            matrix = tf.cast(basis, tensor.dtype)
            side = 1 if is_back else 0
            if axis == -1:
                tensor = tf.tensordot(tensor, matrix, [[-1], [side]])
            else:  # the second to last
                matrix = matrix if is_back else tf.transpose(matrix)
                tensor = tf.linalg.matmul(matrix, tensor)
        return tensor


def dense(weights: tuple[int, ...], matrix: Array) -> Block:
    """Makes the block of a symmetric matrix `[D, D]`."""
    values, vectors = np.linalg.eigh(matrix)
    return Block(weights, np.maximum(values, 0), (vectors,))


def diagonal(weights: tuple[int, ...], values: Array) -> Block:
    """Makes the block of a diagonal matrix, from its elements `[D]`."""
    return Block(weights, np.maximum(values, 0), (None,))


def product(weights: tuple[int, ...], first: Array, second: Array) -> Block:
    """Makes the block of a Kronecker product.

    Args:
        weights: the one weight, of which the elements are a matrix `[I, O]`.
        first: `[I, I]`, or `[I]` if it is diagonal.
        second: `[O, O]`.
    """
    inner, left = (first, None) if first.ndim == 1 else np.linalg.eigh(first)
    outer, right = np.linalg.eigh(second)
    values = np.maximum(inner, 0)[:, None] * np.maximum(outer, 0)
    return Block(weights, values, (left, right))
