"""Computes in each replica its share of a step that is one device's."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import data, keras_private
from tfpbnn.base.types import Tensor
from tfpbnn.distribute import exact_loss, replicas


class SharedSteps(keras_private.StepsOfReplicas):
    """A mixin whose losses are those of one device, whatever the strategy."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Computes the loss; in one of several replicas its share of it.

        The shares add up to the loss of the whole batch, on one device, also
        where replicas have different numbers of rows, of masked places, or
        none. Each has its part of the KL and of other losses of layers.

        Raises:
            ValueError: in one of several replicas, if a loss is a scalar or
                has no reduction, or if layers add losses in calls that a
                synchronized layer interrupts.
        """
        if not replicas.are_several():
            return super().compute_loss(  # type: ignore[misc]
                x, y, y_pred, sample_weight, training=training
            )

        def losses() -> Tensor | None:
            if self.loss is None:  # type: ignore[attr-defined]
                return None
            return keras_private.loss_of_outputs(self, y, y_pred, sample_weight)

        return share_of_loss(self, losses, data.num_rows([x, y, y_pred]))

    def returned(self, logs: Any) -> Any:
        """Puts what a step returns into the form that Keras reduces."""
        strategy = self.distribute_strategy  # type: ignore[attr-defined]
        if not replicas.is_multi_worker(strategy):
            return logs
        return keras.tree.map_structure(lambda v: tf.expand_dims(v, 0), logs)


def share_of_loss(
    model: Any, losses: Callable[[], Tensor | None], rows: Tensor
) -> Tensor:
    """Computes, in one of several replicas, its share of a model's loss.

    Losses that layers add in their calls count as means over rows, or as the
    same for any rows: each replica's has the weight of its rows.

    Args:
        model: a compiled model.
        losses: computes the loss of the outputs by `loss_of_outputs`; None if
            there is none.
        rows: the number of the replica's rows.

    Raises:
        ValueError: as `SharedSteps.compute_loss`.
    """
    extra = list(model.losses)
    weights = model.trainable_weights
    # Keras puts the losses of weights last.
    regularized = sum(weight.regularizer is not None for weight in weights)
    of_calls = extra[: len(extra) - regularized]
    _check_losses_of_calls(model, of_calls)
    if not keras_private.exchange_losses(model, _share):
        losses()  # makes those that are exchanged
        keras_private.exchange_losses(model, _share)
    of_weights = extra[len(of_calls) :]
    return exact_loss.total_loss(losses, of_weights, of_calls, rows)


def track(model: Any, loss: Tensor, x: Any) -> None:
    """Adds a step's loss to what the model reports as its loss.

    Args:
        model: a compiled model.
        loss: of the batch; in one of several replicas its share.
        x: the replica's inputs.
    """
    first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    rows = tf.shape(first)[0]
    if replicas.are_several():
        loss, rows = loss * replicas.count(), replicas.mean_rows(rows)
    keras_private.loss_tracker(model).update_state(loss, sample_weight=rows)


def clipped_together(optimizer: Any, gradients: Sequence[Any]) -> Sequence[Any]:
    """Clips the gradients of the whole batch, not those of each replica.

    Keras's optimizers clip a replica's share before they add up the shares.

    Returns:
        Shares that the optimizer adds up to the clipped gradients, and that
        are too small for it to clip again.
    """
    names = ("clipnorm", "global_clipnorm", "clipvalue")
    clips = any(getattr(optimizer, name, None) for name in names)
    if not (clips and replicas.are_several()):
        return gradients
    summed = iter(replicas.total([g for g in gradients if g is not None]))
    whole = [None if g is None else next(summed) for g in gradients]
    return list(map(_own_part, keras_private.clipped(optimizer, whole)))


def _own_part(gradient: Any) -> Any:
    """Divides a gradient by the number of replicas."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values / replicas.count()
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient / replicas.count()


def _share(loss: Any) -> Any:
    is_one = isinstance(loss, exact_loss.ShareOfLoss)
    return loss if is_one else exact_loss.ShareOfLoss(loss)


def _check_losses_of_calls(model: Any, of_calls: Sequence[Any]) -> None:
    """Raises if losses that calls add would be lost between replicas.

    Replicas take turns where a layer waits for all of them, and Keras clears
    the one list of such losses at each turn. Regularizers, as KLs are, are
    computed when they are asked for.
    """
    waiting = [
        layer.name
        for layer in keras_private.held_layers(model)
        if getattr(layer, "synchronized", False)
    ]
    if waiting and of_calls:
        raise ValueError(
            "Layers must not add losses in their calls (`add_loss`, "
            "`activity_regularizer`) in a model with layers that wait for "
            "other replicas, since Keras loses some on the way. Received: "
            f"such losses, and the synchronized layers {waiting}. Make the "
            "losses regularizers of weights, or take another normalization"
        )
