"""Models with all members of an ensemble in one network."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base.types import Tensor
from tfpbnn.networks import reading
from tfpbnn.networks.reading import layers_of
from tfpbnn.training import fitting


class MemberModel(fitting.WeightedFit, reading.FUNCTIONAL):
    """A network whose outputs are in groups of rows, one for each member.

    Training takes the mean of the members' losses. All else is of the mean of
    their outputs: metrics, `evaluate`, `predict`. A plain call gives the
    groups.
    """

    # Whether a batch is repeated for the members, in their groups.
    _repeats_in_training = False
    _repeats_in_inference = False

    # Keras saves the graph of classes with just its own constructor.
    __init__ = reading.FUNCTIONAL.__init__

    @property
    def num_members(self) -> int:
        """How many members there are."""
        return next(
            layer.num_members
            for layer in layers_of(self)
            if hasattr(layer, "num_members")
        )

    def train_step(self, data: Any) -> Any:
        return super().train_step(
            self._repeated(data) if self._repeats_in_training else data
        )

    def test_step(self, data: Any) -> Any:
        return super().test_step(
            self._repeated(data) if self._repeats_in_inference else data
        )

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        repeated = self._repeated(data) if self._repeats_in_inference else data
        return _mean(super().predict_step(repeated), _rows(x))

    def _repeated(self, data: Any) -> Any:
        """The inputs once for each member; targets stay as they are."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = _tiled(x, self.num_members)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The mean of the members' losses; else that of their mean output."""
        if y is not None and training:
            copies = _rows(y_pred) // _rows(y)
            y, sample_weight = _tiled((y, sample_weight), copies)
        elif y is not None:
            y_pred = _mean(y_pred, _rows(y))
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Metrics of the members' mean output."""
        if y is not None:
            y_pred = _mean(y_pred, _rows(y))
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _rows(structure: Any) -> Tensor:
    return tf.shape(keras.tree.flatten(structure)[0])[0]


def _tiled(structure: Any, copies: int | Tensor) -> Any:
    def tile(leaf: Any) -> Any:
        if leaf is None:
            return None
        leaf = tf.convert_to_tensor(leaf)
        return tf.tile(leaf, [copies] + [1] * (len(leaf.shape) - 1))

    return keras.tree.map_structure(tile, structure)


def _mean(outputs: Any, rows: Tensor) -> Any:
    """`[M * B, ...]` to `[B, ...]`."""

    def mean(y: Tensor) -> Tensor:
        groups = tf.reshape(y, tf.concat([[-1, rows], tf.shape(y)[1:]], 0))
        groups.set_shape([None, None, *y.shape[1:]])
        return tf.reduce_mean(groups, axis=0)

    return keras.tree.map_structure(mean, outputs)
