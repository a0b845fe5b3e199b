"""A step of training, or of evaluation, of all members at once."""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfpbnn.base.masks import masks_of
from tfpbnn.base.types import Tensor
from tfpbnn.ensembles.deep.batches import MemberBatch
from tfpbnn.ensembles.deep.stacks import MemberState, Stacks
from tfpbnn.ensembles.deep.steps import for_each
from tfpbnn.layers.kl import kl_terms, total_kl
from tfpbnn.training.losses import check_names, with_extra
from tfpbnn.training.optimizer_step import apply_gradients, is_proportional


class _Found(NamedTuple):
    """What a member, or a stack of members, makes of a batch.

    Attributes:
        loss: with what layers add to it.
        y_pred: the outputs.
        mask: of each output, which of its places count; or None.
        tracked: what the loss adds to each variable of the model's metrics;
            None for most.
    """

    loss: Tensor
    y_pred: Any
    mask: Any
    tracked: list[Any]


class Learning:
    """The parts of a compiled ensemble's steps.

    Sums of the members' losses have the gradients of each one's loss alone, so
    one step of an optimizer that treats each weight alone is a step of M.
    """

    def __init__(self, model: Any, stacks: Stacks, batch: int, epsilon: Any):
        """Prepares the steps of a model, by its `compute_loss` and optimizer.

        Args:
            model: the ensemble.
            stacks: its members.
            batch: see `for_each`.
            epsilon: how far inputs are moved to make the loss larger; 0 to
                leave them.
        """
        self._model = model
        self._stacks = stacks
        self._batch = batch
        self._epsilon = epsilon
        self._rates: tuple[float | None, ...] = ()
        self._common_rates: Any = weakref.WeakKeyDictionary()

    def train(self, batch: MemberBatch) -> tuple[Tensor, Any, Any]:
        """Updates all members.

        Returns:
            Their losses, `[M]` (or `[M, B, ...]` of a loss without reduction),
            their outputs, `[M, B, ...]`, and the masks of these.
        """

        def work(network: Any, state: MemberState, part: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(state.trainable)
                found, other = self._stacks.call(
                    network, state, lambda n: self._loss(n, batch.of(part))
                )
                scaled = self._model.optimizer.scale_loss(found.loss)
            gradients = tape.gradient(scaled, state.trainable)
            return found, self._clipped(gradients), other

        found, gradients, other = self._for_each(work, batch)
        self._update(gradients)
        for variable, value in zip(self._stacks.other, other, strict=True):
            variable.assign(value)
        return self._tracked(found)

    def use_rates(self, rates: Sequence[float | None]) -> None:
        """Gives members learning rates of their own; None for the common."""
        self._rates = tuple(rates)

    def test(self, batch: MemberBatch) -> tuple[Tensor, Any, Any]:
        """The members' losses, outputs and masks, as `train` gives them."""

        def work(network: Any, state: MemberState, part: Any) -> Any:
            found, _ = self._stacks.call(
                network,
                state,
                lambda n: self._loss_at(n, *batch.of(part), training=False),
            )
            return found

        return self._tracked(self._for_each(work, batch))

    def _for_each(self, work: Any, batch: MemberBatch) -> Any:
        return for_each(self._stacks, self._batch, work, batch.own)

    def _tracked(self, found: "_Found") -> tuple[Tensor, Any, Any]:
        """What was found, after the metrics of the loss were updated."""
        variables = self._model.metrics_variables
        for variable, more in zip(variables, found.tracked, strict=True):
            if more is not None:
                variable.assign_add(tf.reduce_mean(more, axis=0))
        return found.loss, found.y_pred, found.mask

    def divergence(self) -> Tensor:
        """The mean over members of their KL, without its weight, in nats."""

        def work(network: Any, state: MemberState, part: Any) -> Tensor:
            del part
            kl, _ = self._stacks.call(
                network,
                state,
                lambda n: total_kl(kl_terms(n)),
            )
            return kl

        kls = for_each(self._stacks, self._batch, work)
        return tf.reduce_mean(kls)

    def build(self, batch: MemberBatch) -> None:
        """Makes the variables of losses and metrics, for outputs of a member.

        In a graph that is never run, outside of the loops that use them.
        """
        x, y, weights = batch.first

        def dry(x: Any, y: Any, weights: Any) -> None:
            y_pred, _ = self._stacks.call(
                self._stacks.network(0),
                self._stacks.slice(0),
                lambda n: n(x, training=False),
            )
            check_names(self._model, y, y_pred)
            self._model.compute_loss(x, y, y_pred, weights, training=False)
            self._model.compute_metrics(x, y, y_pred, weights)

        tf.function(dry, autograph=False).get_concrete_function(x, y, weights)

    def _update(self, gradients: list[Any]) -> None:
        """A step of the optimizer, to each member's own rate."""
        optimizer, stacks = self._model.optimizer, self._stacks.trainable
        before = [tf.identity(v.value) for v in stacks] if self._rates else []
        with _without_clipping(optimizer):
            apply_gradients(optimizer, gradients, stacks)
        for variable, old in zip(stacks, before, strict=False):
            # Steps are in proportion to the rate.
            shape = [-1] + [1] * (len(old.shape) - 1)
            factors = tf.reshape(tf.cast(self._factors(), old.dtype), shape)
            variable.assign(old + factors * (variable.value - old))

    def _factors(self) -> Tensor:
        """The members' rates over the optimizer's, when it first trains."""
        optimizer = self._model.optimizer
        if optimizer not in self._common_rates:
            if not is_proportional(optimizer):
                raise ValueError(
                    "Members' own learning rates need an optimizer whose step "
                    "is in proportion to its rate, which is a number. "
                    f"Received: {type(optimizer).__name__}"
                )
            with tf.init_scope():
                rate = float(
                    keras.ops.convert_to_numpy(optimizer.learning_rate)
                )
            self._common_rates[optimizer] = rate
        common = self._common_rates[optimizer]
        return tf.constant(
            [1.0 if rate is None else rate / common for rate in self._rates]
        )

    def _loss(self, network: Any, data: tuple[Any, Any, Any]) -> "_Found":
        x, y, weights = data
        if not self._epsilon:
            return self._loss_at(network, x, y, weights, training=True)
        with tf.GradientTape() as tape:
            tape.watch(_floats(x))
            found = self._loss_at(network, x, y, weights, training=True)
        slopes = tape.gradient(found.loss, x)
        worse = keras.tree.map_structure(self._moved, x, slopes)
        other = self._loss_at(network, worse, y, weights, training=True)
        return found._replace(
            loss=(found.loss + other.loss) / 2, tracked=other.tracked
        )

    def _moved(self, x: Tensor, slope: Tensor | None) -> Tensor:
        if slope is None:
            return x
        return tf.stop_gradient(x + self._epsilon * tf.sign(slope))

    def _loss_at(
        self, network: Any, x: Any, y: Any, weights: Any, training: bool
    ) -> "_Found":
        y_pred = network(x, training=training)
        # Losses of several outputs have metrics, which are updated here; but
        # in a member's scope variables keep their values.
        before = [v.value for v in self._model.metrics_variables]
        loss = self._model.compute_loss(
            x, y, y_pred, weights, training=training
        )
        after = [v.value for v in self._model.metrics_variables]
        return _Found(
            with_extra(loss, network.losses),
            y_pred,
            masks_of(y_pred),
            [
                None if new is old else new - old
                for new, old in zip(after, before, strict=True)
            ],
        )

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        """Clipped by the norms of one member; None stays."""
        optimizer = self._model.optimizer
        if optimizer.clipnorm:
            gradients = [
                g if g is None else tf.clip_by_norm(g, optimizer.clipnorm)
                for g in gradients
            ]
        elif optimizer.global_clipnorm:
            gradients, _ = tf.clip_by_global_norm(
                gradients, optimizer.global_clipnorm
            )
        return [g if g is None else tf.convert_to_tensor(g) for g in gradients]


@contextlib.contextmanager
def _without_clipping(optimizer: Any) -> Iterator[None]:
    """Lets an optimizer leave the norms, which were seen to, alone."""
    norms = optimizer.clipnorm, optimizer.global_clipnorm
    optimizer.clipnorm = optimizer.global_clipnorm = None
    try:
        yield
    finally:
        optimizer.clipnorm, optimizer.global_clipnorm = norms


def _floats(x: Any) -> list[Tensor]:
    """The inputs that can be moved a little: those of real numbers."""
    leaves = keras.tree.flatten(x)
    found = [leaf for leaf in leaves if leaf.dtype.is_floating]
    if not found:
        raise ValueError(
            "`adversarial_epsilon` needs inputs of floating-point numbers. "
            f"Received: inputs of {[leaf.dtype.name for leaf in leaves]}"
        )
    return found
