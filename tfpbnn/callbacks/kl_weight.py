"""Weights the KL during training, by a Keras callback."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpbnn.base import checks, gradients, keras_private
from tfpbnn.callbacks import divisor as divisors
from tfpbnn.callbacks.training_data import TrainingData
from tfpbnn.distribute import starting
from tfpbnn.layers import kl


def _linear(epoch: int, warmup_epochs: int) -> float:
    return min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0


def _cyclical(epoch: int, warmup_epochs: int) -> float:
    return _linear(epoch % max(2 * warmup_epochs, 1), warmup_epochs)


_NO_KL = (
    "The model has no KL for `KLWeight` to weight: none of its layers has a "
    "prior. Add variational layers (such as tfpbnn.layers.DenseFlipout), or "
    "leave the callback out."
)
_SCHEDULES = {"cyclical": _cyclical, "linear": _linear}


class KLWeight(keras.callbacks.Callback):
    """Weights the KL in the loss during `fit`, and logs it.

    Keras averages the likelihood over examples, so the KL must be divided by
    their number; a warm-up lets it rise from 0. The weight is `temperature *
    max(floor, schedule) / divisor`. Here `divisor` is the number that the
    losses of an epoch's batches are divided by: `num_examples` for the losses
    of `tfpbnn.likelihoods`; `num_examples` times the number of places for
    losses of Keras's that average over time steps or pixels too; the number of
    batches for `reduction="sum"`.

    The logs get `kl` (the sum over all layers, in nats, without the weight; for
    an ensemble the mean over members) and `kl_weight`, for the callbacks that
    come later in the list. (`tfpbnn.Model` and `tfpbnn.Sequential` put this one
    first.) Layers that were given their own `kl_weight` keep it. After
    training, and in all weights that are saved on the way, the weight is
    `temperature / divisor`, wherever the schedule was.

    Args:
        num_examples: the number of training examples (not of batches).
        warmup_epochs: the number of epochs in which the weight rises from 0; 0
            for no warm-up.
        schedule: "linear" rises once; "cyclical" rises over `warmup_epochs`,
            stays for as many, and starts anew. Or a function of the epoch,
            counted from 0, that returns the factor of the weight, such as a
            `keras.optimizers.schedules.LearningRateSchedule`.
        temperature: the final factor of the KL. Below 1 the posterior is cold:
            narrower, as if each example counted 1 / `temperature` times. At 1
            it is the Bayesian posterior.
        floor: the least factor of the schedule, so that the KL always counts.
        divisor: the number that the losses of an epoch's batches are divided
            by, summed over the batches. None, the default, computes it from
            `num_examples`, the loss and the outputs. It must be given where
            these don't tell: for losses of Keras's that average over the
            places that a mask leaves (their number), and for
            `reduction="mean_with_sample_weight"` (the sum of the weights).
            `tfpbnn.Model` and `tfpbnn.Sequential` count both in the data.

    Raises:
        ValueError: if `num_examples`, `temperature` or `divisor` is not
            positive and finite, `warmup_epochs` is negative, `floor` is not
            from 0 to 1, the schedule's name is unknown, or it gives a negative
            or infinite factor; in `fit`, if the model has no KL, or if
            `num_examples` does not tell what the loss is divided by.

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

    # Of the data only what there is of each row, since their number is given.
    _counts_proportions = True

    def __init__(
        self,
        num_examples: int,
        warmup_epochs: int = 0,
        schedule: str | Callable[[int], float] = "linear",
        *,
        temperature: float = 1.0,
        floor: float = 0.0,
        divisor: float | None = None,
    ):
        super().__init__()
        checks.positive_number("num_examples", num_examples)
        checks.positive_number.optional("divisor", divisor)
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
        self.divisor = divisor
        self._data: TrainingData | None = None
        self._forget()

    def _forget(self) -> None:
        self._found: float | None = None  # the divisor of this training
        self._factor = 1.0
        self._set: set[int] = set()  # the weights that have it

    def factor(self, epoch: int) -> float:
        """Computes the schedule's factor of the weight in an epoch."""
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

    def see(self, given: Mapping[str, Any]) -> None:
        """Reads the data of the next `fit`.

        They tell what `num_examples` does not, such as the sum of weights.

        Args:
            given: the arguments of `fit`, by name.
        """
        self._data = TrainingData(given)

    def weigh(self, weight: keras.Variable) -> None:
        """Sets a KL weight that was not there when training began."""
        if id(weight) in self._set:
            return
        if any(weight is own for own in kl.managed_weights(self.model)):
            self._assign()

    def on_train_begin(self, logs: Any = None) -> None:
        """Raises if there is no KL to weight."""
        starting.warn_of_keras(self.model)
        self._forget()
        kl.take_charge(self)
        if self._is_built() and not self._has_kl():
            raise ValueError(_NO_KL)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the epoch's weight."""
        self._factor = self.factor(epoch)
        if self._outputs() is not None or not divisors.need_outputs(self.model):
            self._assign()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs the KL and its weight."""
        if not self._has_kl():
            raise ValueError(_NO_KL)
        if logs is not None:
            logs["kl"] = float(kl.total_kl(kl.kl_terms(self.model)))
            logs["kl_weight"] = self._factor * self._full_weight()

    def on_train_end(self, logs: Any = None) -> None:
        """Sets the full weight, for `evaluate` and more training."""
        kl.give_up_charge(self)
        self._factor = 1.0
        self._assign()
        self._data = None
        gradients.release()  # of the steps, which are all traced

    def _has_kl(self) -> bool:
        return bool(kl.managed_weights(self.model) or kl.kl_terms(self.model))

    def _is_built(self) -> bool:
        """Says whether all layers are there; a call may make more."""
        held = keras_private.held_layers(self.model)
        return self.model.built and all(layer.built for layer in held)

    def _outputs(self) -> Any:
        """Finds the model's symbolic outputs; None if they are unknown yet."""
        x = None if self._data is None else self._data.example()[0]
        return divisors.outputs_of(self.model, x)

    def _full_weight(self) -> float:
        """Computes the weight without its schedule."""
        if self._found is None:
            self._found = self.divisor or self._divisor()
        return self.temperature / self._found

    def _divisor(self) -> float:
        return self.examples_and_divisor()[1]

    def examples_and_divisor(self) -> tuple[float, float]:
        """Counts examples, and sums up what an epoch's losses are divided by.

        Raises:
            ValueError: if these can't be known.
        """
        seen = self._data
        outputs = self._outputs()
        y = None if seen is None else seen.example()[1]
        parts = divisors.divisors_of(self.model, outputs, y)
        if seen is not None and self._must_count(parts):
            names = divisors.names_of(self.model, outputs)
            rows, values = seen.count(
                self.model, names, parts, self._counts_proportions
            )
            examples = self._examples(rows)
            values = [value * examples / rows for value in values]
        else:
            examples, steps = (
                self.num_examples,
                (self.params or {}).get("steps"),
            )
            values = [part.of_counts(examples, steps) for part in parts]
        if not values:  # A loss of the user's own code, a mean over rows.
            return examples, float(examples)
        return examples, divisors.joint(self.model, parts, values)

    def _must_count(self, parts: Sequence[divisors.Divisor]) -> bool:
        """Says whether the data must tell what `num_examples` does not."""
        assert self._data is not None
        return self._data.can_read() and any(map(self._data.adds_to, parts))

    def _examples(self, counted: int) -> int:
        """Returns the number of examples, where so many were counted."""
        return self.num_examples

    def _assign(self) -> None:
        weights = kl.managed_weights(self.model)
        if not weights:
            return
        with tf.init_scope():
            full = self._full_weight()
            for weight in weights:
                # Of M members there are M.
                weight.assign(keras.ops.full(weight.shape, full))
                weight.factor.assign(self._factor)
        self._set = set(map(id, weights))


class DataLengthKLWeight(KLWeight):
    """A `KLWeight` for a `fit` without one, which counts the data.

    It does nothing to a model without a KL. This is known only when a step is
    traced, since `fit` may build the model.

    Args:
        given: the arguments of `fit`, by name.
    """

    _counts_proportions = False

    def __init__(self, given: Mapping[str, Any]):
        super().__init__(num_examples=1)
        self.see(given)

    def on_train_begin(self, logs: Any = None) -> None:
        self._forget()
        kl.take_charge(self)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if kl.managed_weights(self.model):
            self._assign()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if kl.managed_weights(self.model):
            super().on_epoch_end(epoch, logs)

    def _must_count(self, parts: Sequence[divisors.Divisor]) -> bool:
        return True

    def _examples(self, counted: int) -> int:
        return checks.positive_integer("num_examples", counted)


def with_kl_weight(given: Mapping[str, Any]) -> list[keras.callbacks.Callback]:
    """Lists the callbacks of a `fit`, with the KL's weight first.

    So the others find the KL in their logs. A user's own `KLWeight` is kept,
    and reads the data.

    Args:
        given: the arguments of `fit`, by name.
    """
    callbacks = keras.tree.flatten(given.get("callbacks") or [])
    weights = [each for each in callbacks if isinstance(each, KLWeight)]
    for weight in weights:
        weight.see(given)
    rest = [each for each in callbacks if not isinstance(each, KLWeight)]
    return [*(weights or data_length_weights(given)), *rest]


def data_length_weights(given: Mapping[str, Any]) -> list[DataLengthKLWeight]:
    """Makes the `KLWeight` that `fit` adds, unless one was given."""
    callbacks = keras.tree.flatten(given.get("callbacks"))
    is_given = any(isinstance(callback, KLWeight) for callback in callbacks)
    return [] if is_given else [DataLengthKLWeight(given)]
