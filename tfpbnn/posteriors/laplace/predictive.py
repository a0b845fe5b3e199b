"""Computes outputs under a Normal of the weights, to first order."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.base.xla import run_as_graph
from tfpbnn.layers.drawn.base import DrawnValues
from tfpbnn.posteriors.laplace.blocks import Block
from tfpbnn.posteriors.laplace.ends import end_of


def linearized(
    network: keras.Model,
    variables: Sequence[keras.Variable],
    noises: Sequence[Tensor],
    x: Any,
) -> Any:
    """Computes the network to first order: f(x) + J(x) (w - w*).

    Args:
        network: the network; f is what is before its last activation.
        variables: its random weights, at w*.
        noises: w - w* of each of these.
        x: inputs.
    """
    if tf.executing_eagerly():
        # Only a graph knows the operation that an output comes from.
        return run_as_graph(
            lambda x: linearized(network, variables, noises, x), x
        )
    values = [tf.identity(v.value) for v in variables]
    with DrawnValues(list(zip(variables, values, strict=True))):
        outputs = network(x, training=False)
    ends = [end_of(y) for y in keras.tree.flatten(outputs)]
    leaves = [end.before for end in ends]
    # The slope along the noises, by two gradients: TensorFlow has no forward
    # derivatives of loops. Not by tapes, which record nothing where a graph is
    # traced in an `init_scope`.
    factors = [tf.zeros_like(y) for y in leaves]
    none = tf.UnconnectedGradients.ZERO
    slopes = tf.gradients(leaves, values, factors, unconnected_gradients=none)
    total = tf.add_n(
        [
            tf.reduce_sum(tf.convert_to_tensor(s) * noise)
            for s, noise in zip(slopes, noises, strict=True)
        ]
    )
    changes = tf.gradients(total, factors, unconnected_gradients=none)
    moved = [
        end.activation(end.before + change)
        for end, change in zip(ends, changes, strict=True)
    ]
    return keras.tree.pack_sequence_as(outputs, moved)


def covariance(block: Block, precisions: Tensor, jacobian: Tensor) -> Tensor:
    """Computes J V J^T of a block's weights, `[B, M, M]`.

    Args:
        block: of the weights.
        precisions: in the directions of its eigenvectors.
        jacobian: `[M, B, D]`.
    """
    scaled = block.rotated(jacobian) / tf.sqrt(precisions)
    shape = tf.shape(jacobian)
    flat = tf.reshape(scaled, [shape[0], shape[1], -1])
    flat = tf.transpose(flat, [1, 0, 2])
    return tf.linalg.matmul(flat, flat, transpose_b=True)


def variances(block: Block, precisions: Tensor, jacobian: Tensor) -> Tensor:
    """Computes the diagonal of `covariance`, `[B, M]`."""
    squares = block.rotated(jacobian) ** 2 / precisions
    axes = list(range(2, len(squares.shape)))
    return tf.transpose(tf.reduce_sum(squares, axes))


def probit(logits: Tensor, variance: Tensor) -> Tensor:
    """Shrinks logits, so that their sigmoid or softmax is the mean one.

    Args:
        logits: `[B, ...]`.
        variance: `[B, M]`, of as many elements.

    Reference:
        [MacKay, 1992](https://doi.org/10.1162/neco.1992.4.5.720) for the
        sigmoid, whose rule is taken of each logit of a softmax
    """
    variance = tf.reshape(variance, tf.shape(logits))
    factor = 1 + 0.39269908169872414 * tf.cast(variance, logits.dtype)
    return logits / tf.sqrt(factor)
