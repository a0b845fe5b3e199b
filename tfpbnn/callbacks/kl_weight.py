"""Keras callbacks."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfpbnn.base import checks, data
from tfpbnn.layers.kl import kl_terms, managed_weights, total_kl


def _linear(epoch: int, warmup_epochs: int) -> float:
    return min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0


def _cyclical(epoch: int, warmup_epochs: int) -> float:
    return _linear(epoch % max(2 * warmup_epochs, 1), warmup_epochs)


_SCHEDULES = {"cyclical": _cyclical, "linear": _linear}


class KLWeight(keras.callbacks.Callback):
    """Weights the KL as the loss needs it, and logs it.

    Keras averages the likelihood over examples, so the KL counts 1 /
    `num_examples` there; a warm-up starts it at nothing. In all, the weight is
    `temperature * max(floor, schedule) / num_examples`. Adds `kl` (of all
    layers, in nats, without its weight; of an ensemble the mean over members)
    and `kl_weight` to the logs. Layers that were given a `kl_weight` of their
    own keep it. When training ends the weight is `temperature / num_examples`,
    wherever the schedule was.

    Args:
        num_examples: how many examples the training data has. (Not batches.)
        warmup_epochs: over how many epochs the weight rises from 0; 0 for none.
        schedule: "linear": rises once. "cyclical": rises over `warmup_epochs`,
            stays for as long, starts anew. Or a function from the epoch, which
            counts from 0, to what the weight is multiplied with, such as a
            `keras.optimizers.schedules.LearningRateSchedule`.
        temperature: what the KL is multiplied with in the end. Below 1 the
            posterior is cold: narrower, as if each example counted
            1 / `temperature` times. At 1 it is Bayes's.
        floor: the least that the schedule multiplies with, so that the KL
            never counts nothing.

    Raises:
        ValueError: if `num_examples` or `temperature` is not positive and
            finite, `warmup_epochs` is negative, `floor` is not from 0 to 1, the
            schedule's name is unknown, or it gives a negative or infinite
            factor; in `fit`, if the model has no KL.

    Example:
    ```python
    model.fit(
        x,
        y,
        epochs=50,
        callbacks=[tfpbnn.callbacks.KLWeight(len(x), warmup_epochs=10)],
    )
    ```

    Reference:
        [Sonderby et al., 2016](https://arxiv.org/abs/1602.02282), linear;
        [Fu et al., 2019](https://arxiv.org/abs/1903.10145), cyclical;
        [Wenzel et al., 2020](https://arxiv.org/abs/2002.02405), temperature
    """

    def __init__(
        self,
        num_examples: int,
        warmup_epochs: int = 0,
        schedule: str | Callable[[int], float] = "linear",
        *,
        temperature: float = 1.0,
        floor: float = 0.0,
    ):
        super().__init__()
        checks.positive_number("num_examples", num_examples)
        checks.positive_number("temperature", temperature)
        checks.non_negative("warmup_epochs", warmup_epochs)
        checks.fraction("floor", floor)
        if not callable(schedule) and schedule not in _SCHEDULES:
            raise ValueError(
                f"`schedule` must be one of {sorted(_SCHEDULES)} or a function "
                f"of the epoch. Received: schedule={schedule!r}"
            )
        self.num_examples = num_examples
        self.warmup_epochs = warmup_epochs
        self.schedule = schedule
        self.temperature = temperature
        self.floor = floor

    def factor(self, epoch: int) -> float:
        """The schedule's factor of the weight in an epoch."""
        if callable(self.schedule):
            value = float(self.schedule(epoch))
        else:
            value = _SCHEDULES[self.schedule](epoch, self.warmup_epochs)
        if not 0 <= value < math.inf:
            raise ValueError(
                "`schedule` must give finite numbers >= 0. Received: "
                f"{value} for epoch {epoch}"
            )
        return max(self.floor, value)

    def _weight(self, epoch: int) -> float:
        return self.factor(epoch) * self._full_weight

    @property
    def _full_weight(self) -> float:
        return self.temperature / self.num_examples

    def on_train_begin(self, logs: Any = None) -> None:
        """Sees that there is something to weight."""
        has_kl = managed_weights(self.model) or kl_terms(self.model)
        if not has_kl:
            raise ValueError(
                "The model has no KL for `KLWeight` to weight: none of its "
                "layers has a prior. Add variational layers (such as "
                "tfpbnn.layers.DenseFlipout), or leave the callback out."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the epoch's weight."""
        self._assign(self._weight(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs the KL and its weight."""
        if logs is not None:
            terms = kl_terms(self.model)
            logs["kl"] = float(total_kl(terms))
            logs["kl_weight"] = self._weight(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the full weight behind, for `evaluate` and more training."""
        self._assign(self._full_weight)

    def _assign(self, value: float) -> None:
        for weight in managed_weights(self.model):
            weight.assign(keras.ops.full(weight.shape, value))  # of M members


class DataLengthKLWeight(KLWeight):
    """The `KLWeight` of a `fit` that was given none, by its data's length.

    It does nothing to a model that has no KL to weight, which is known when
    training begins and no sooner: `fit` may build the model.

    Args:
        given: the arguments of `fit`, by name.
    """

    def __init__(self, given: Mapping[str, Any]):
        super().__init__(num_examples=1)
        self._x = given.get("x")
        self._validation_split = given.get("validation_split") or 0.0
        self._is_needed = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Counts the examples, if there is a KL to weight."""
        self._is_needed = bool(managed_weights(self.model))
        if self._is_needed:
            count = data.count_examples(self._x, self._validation_split)
            self.num_examples = checks.positive_integer("num_examples", count)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._is_needed:
            super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._is_needed:
            super().on_epoch_end(epoch, logs)


def data_length_weights(given: Mapping[str, Any]) -> list[DataLengthKLWeight]:
    """The callback that `fit` adds, unless there is a `KLWeight` already."""
    callbacks = keras.tree.flatten(given.get("callbacks"))
    is_given = any(isinstance(callback, KLWeight) for callback in callbacks)
    return [] if is_given else [DataLengthKLWeight(given)]
