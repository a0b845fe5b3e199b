"""What one part of a graph leaves for a later part."""

import threading

import tensorflow as tf

from tfpbnn.base.types import Tensor


class KeptTensor:
    """A tensor that one part of a graph leaves for a later part.

    For the KL: an estimator's pass computes it, and Keras asks for it when it
    adds up the losses. It is given out once, and only in the graph and replica
    that it was made in; whoever gets None computes it anew.
    """

    def __init__(self) -> None:
        self._tensors: dict[int, Tensor] = {}

    def keep(self, tensor: Tensor) -> None:
        """Leaves a tensor of the current graph; eager ones are not kept."""
        if not tf.executing_eagerly():
            self._tensors[_replica()] = tensor

    def take(self) -> Tensor | None:
        """The tensor kept last, if it is of the current graph."""
        tensor = self._tensors.pop(_replica(), None)
        if tensor is None or tf.executing_eagerly():
            return None
        here = tf.compat.v1.get_default_graph()
        return tensor if tensor.graph is here else None


def _replica() -> int:
    # Replicas of a MirroredStrategy trace in threads, into one graph.
    return threading.get_ident()
