"""The log-density of weights, given rows that several devices share."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base.types import Array, Tensor, Tree
from tfpbnn.base.xla import Compiler
from tfpbnn.densities.log_density import LogDensity, Network
from tfpbnn.densities.parameters import Parameters
from tfpbnn.distribute.devices import Devices
from tfpbnn.likelihoods import Likelihood


class SharedRows(LogDensity):
    """A density whose rows are in so many shards, each on one device.

    Each shard is one function of XLA, the same on whichever device. Their sum
    is taken in the order of shards, so it does not depend on how many devices
    share them.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        likelihoods: list[Likelihood | None],
        rows: tuple[Tree, list[Array], list[Array]],
        devices: Devices,
        shards: int,
    ):
        """Puts the rows on the devices, which take turns.

        Args:
            network, parameters, likelihoods, rows: as of any density.
            devices: those that share the rows.
            shards: how many shards there are; no more than rows.

        Raises:
            ValueError: if there are more shards than rows.
        """
        count = len(rows[2][0])
        if shards > count:
            raise ValueError(
                "`row_shards` must be at most the number of rows. Received: "
                f"row_shards={shards}, and {count} rows"
            )
        super().__init__(
            network, parameters, likelihoods, rows, -(-count // shards)
        )
        self.data = keras.tree.map_structure(lambda a: a[:1], self.rows)
        self.compiler = Compiler(with_xla=False)
        self._function = Compiler().compiled(self._value_and_slope)
        names = devices.names
        self._names = [names[i % len(names)] for i in range(len(self._sizes))]
        # A scope would make variables that are on each device. A new thread is
        # in no scope.
        with ThreadPoolExecutor(1) as pool:
            self._shards = pool.submit(self._placed).result()
        # Here an operation that XLA refuses has another way still.
        start = tf.zeros([1, parameters.size], parameters.dtype)
        self._function(start, *self._shard(0))

    @property
    def _sizes(self) -> list[int]:
        """How many rows each shard has, without what fills the last."""
        chunks, size = self.rows[2][0].shape[:2]
        first = size * np.arange(chunks)
        return np.minimum(size, self.num_rows - first).tolist()

    def _placed(self) -> list[Tree]:
        """Makes the variables of all shards, each on its device."""
        found = []
        for index, name in enumerate(self._names):
            part = keras.tree.map_structure(lambda a: a[index], self.rows)  # noqa: B023
            with tf.device(name):
                found.append(
                    keras.tree.map_structure(
                        lambda a: tf.Variable(a, trainable=False), part
                    )
                )
        return found

    def _shard(self, index: int) -> tuple[Tree, Tensor]:
        """The rows of a shard, and how many there are."""
        part = keras.tree.map_structure(
            tf.convert_to_tensor, self._shards[index]
        )
        return part, tf.constant(self._sizes[index])

    def _value_and_slope(
        self, vectors: Tensor, part: Tree, count: Tensor
    ) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            value = self.of_rows(vectors, part, count)
        return value, tape.gradient(value, vectors)

    def _log_likelihood(self, vectors: Tensor, data: Tree) -> Tensor:
        del data  # rows are where the devices are

        @tf.custom_gradient
        def total(vectors: Tensor) -> Any:
            found = []
            for index, name in enumerate(self._names):
                with tf.device(name):
                    found.append(self._function(vectors, *self._shard(index)))
            values, slopes = zip(*found, strict=True)
            slope = tf.add_n(slopes)
            return tf.add_n(values), lambda up: up[:, tf.newaxis] * slope

        return total(vectors)
