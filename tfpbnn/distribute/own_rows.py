"""Gives replicas rows of their own, in place of views of a user's arrays.

TensorFlow reads an array that a generator yields where it lies, cuts it for the
replicas, and takes the parts for memory of its own: a step writes into them
(the difference of targets and outputs into the targets), and the next epoch
reads other numbers. So batches are copied before they are cut.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def copied(x: Any) -> Any:
    """Returns data that yield copies of the batches of others.

    Args:
        x: data of any form that `fit` takes. Arrays stay as they are, of which
            Keras makes batches itself.
    """
    if isinstance(x, tf.data.Dataset):
        return x.map(_copied_in_graph, num_parallel_calls=tf.data.AUTOTUNE)
    if isinstance(x, keras.utils.PyDataset):
        return x if isinstance(x, _Copied) else _Copied(x)
    if inspect.isgenerator(x):
        return map_batches(x)
    return x


def map_batches(batches: Iterator[Any]) -> Iterator[Any]:
    """Yields copies of batches."""
    for batch in batches:
        yield keras.tree.map_structure(_copy, batch)


class _Copied(keras.utils.PyDataset):
    """A PyDataset that yields copies of the batches of another."""

    def __init__(self, source: keras.utils.PyDataset):
        super().__init__(
            workers=source.workers,
            use_multiprocessing=source.use_multiprocessing,
            max_queue_size=source.max_queue_size,
        )
        self._source = source

    def __getitem__(self, index: int) -> Any:
        return keras.tree.map_structure(_copy, self._source[index])

    @property
    def num_batches(self) -> int | None:
        """The number of batches of the other."""
        return self._source.num_batches

    def on_epoch_begin(self) -> None:
        """Passes the event on."""
        self._source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Passes the event on."""
        self._source.on_epoch_end()


def _copied_in_graph(*batch: Any) -> Any:
    return tf.nest.map_structure(_copy_of_tensor, batch)


def _copy_of_tensor(part: Any) -> Any:
    """Copies a tensor; those of other kinds are never views of an array."""
    if not isinstance(part, tf.Tensor) or part.dtype == tf.string:
        return part
    return tf.raw_ops.DeepCopy(x=part)


def _copy(leaf: Any) -> Any:
    return np.array(leaf) if isinstance(leaf, np.ndarray) else leaf
