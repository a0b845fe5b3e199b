"""Defines what models share that have all members in one network."""

from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import keras_private
from tfpbnn.base.data import num_rows
from tfpbnn.base.masks import masks_of, mean_of_stack, over_rows
from tfpbnn.base.stacking import map_tensors, unflatten
from tfpbnn.base.types import Tensor
from tfpbnn.distribute import replicas, steps
from tfpbnn.networks import reading
from tfpbnn.networks.reading import layers_of
from tfpbnn.training import fitting
from tfpbnn.training.losses import check_names, with_extra


class MemberModel(fitting.WeightedFit, reading.FUNCTIONAL):
    """A network whose outputs are in groups of rows, one for each member.

    Training takes the mean of the members' losses. Metrics, `evaluate` and
    `predict` use the mean of their outputs. A plain call returns the groups.

    Masks and weights go with the rows that they belong to.
    """

    # Whether a batch is repeated for the members, in their groups.
    _repeats_in_training = False
    _repeats_in_inference = False

    # Keras saves the graph of classes with just its own constructor.
    __init__ = reading.FUNCTIONAL.__init__

    @property
    def num_members(self) -> int:
        """The number of members."""
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
        return _mean(super().predict_step(repeated), num_rows(x))

    def _repeated(self, data: Any) -> Any:
        """Repeats the inputs for each member; targets stay as they are."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = map_tensors(lambda t: _copies(t, self.num_members), x)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def _groups_in_training(self) -> int:
        """Returns the number of groups of as many rows as there are targets."""
        return self.num_members

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Computes the mean of the members' losses, in training.

        Outside of training it is the loss of the members' mean output.
        """
        if y is None or self.loss is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        check_names(self, y, y_pred)
        if not training:
            y_pred = _mean(y_pred, num_rows(y))
            return super().compute_loss(x, y, y_pred, sample_weight, training)

        def losses() -> Tensor:
            # One by one: a loss may be a sum over rows, or look across them.
            found = [
                keras_private.loss_of_outputs(self, y, group, sample_weight)
                for group in _groups(y_pred, self._groups_in_training())
            ]
            return tf.add_n(found) / len(found)

        if replicas.are_several():
            return steps.share_of_loss(self, losses, num_rows(y))
        return with_extra(losses(), self.losses)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Updates the metrics with the members' mean output."""
        if y is not None:
            y_pred = _mean(y_pred, num_rows(y))
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _copies(x: Any, count: int) -> Any:
    """Repeats a tensor, which is dense, sparse or ragged, along its rows."""
    if isinstance(x, tf.SparseTensor):
        return tf.sparse.concat(0, [x] * count)
    return tf.concat([x] * count, axis=0)


def _groups(outputs: Any, count: int) -> list[Any]:
    """Cuts `[G * B, ...]` into G parts `[B, ...]`."""
    return [
        over_rows(lambda t, i=i: unflatten(t, count)[i], outputs)  # type: ignore[misc]
        for i in range(count)
    ]


def _mean(outputs: Any, rows: Tensor) -> Any:
    """Takes the mean over the groups, from `[G * B, ...]` to `[B, ...]`."""

    def groups(t: Tensor) -> Tensor:
        # A replica may have no row, of which there is one group.
        count = tf.shape(t)[0] // tf.maximum(rows, 1)
        return unflatten(t, tf.maximum(count, 1))

    masks = map_tensors(groups, masks_of(outputs))
    return mean_of_stack(map_tensors(groups, outputs), masks)
