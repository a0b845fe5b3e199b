"""Keras's model classes, plus what Keras cannot know about a posterior."""

import inspect
from typing import Any

import keras

from tfpbnn import (
    _registry,
    data,
    divergences,
    executions,
    targets,
    updates,
)
from tfpbnn.callbacks import KLWeight
from tfpbnn.types import Tensor


class _DataLengthKLWeight(keras.callbacks.Callback):
    """A `KLWeight` with the data's length, if the model turns out to need it.

    That is known when training begins: a model may be built no sooner.
    """

    def __init__(self, x: Any, validation_split: float):
        super().__init__()
        self._x = x
        self._validation_split = validation_split
        self._inner: KLWeight | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        if not divergences.managed_weights(self.model):
            return
        count = data.count_examples(self._x, self._validation_split)
        self._inner = KLWeight(count)
        self._inner.set_model(self.model)
        self._inner.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._inner is not None:
            self._inner.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._inner is not None:
            self._inner.on_epoch_end(epoch, logs)


class _WeightedFit(targets.CheckedEvaluate, executions.Executions):
    """`fit` that weights the KL by the number of training examples."""

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`, with the KL weighted by the data's length.

        Layers that have a `kl_weight` of their own keep it, and a
        `tfpbnn.callbacks.KLWeight` among the callbacks is left in charge.

        Args:
            *args: as in Keras.
            **kwargs: as in Keras.

        Raises:
            TypeError: if targets are names, or other objects.
            ValueError: if the number of training examples cannot be known, or
                arrays have NaN among them, or targets that the compiled loss
                can't take, such as a label beyond the last.
        """
        plain = super().fit  # type: ignore[misc]
        bound = inspect.signature(plain).bind(*args, **kwargs)
        given = bound.arguments
        targets.check_data(self, given)
        callbacks = given.get("callbacks") or []
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = list(keras.tree.flatten(callbacks))
            if not any(isinstance(item, KLWeight) for item in callbacks):
                split = given.get("validation_split") or 0.0
                weight = _DataLengthKLWeight(given.get("x"), split)
                given["callbacks"] = [*callbacks, weight]
        with executions.several(self, given, [self]):
            return plain(*bound.args, **bound.kwargs)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """As in Keras; large updates are one pass over the weights."""
        plain = super().train_step  # type: ignore[misc]
        optimizer = self.optimizer  # type: ignore[attr-defined]
        with updates.compiled(optimizer):
            return plain(data)


@_registry.register("models")
class Sequential(_WeightedFit, keras.Sequential):
    """`keras.Sequential` whose `fit` weights the KL by the data's length.

    Example:
    ```python
    model = tfpbnn.Sequential([
        keras.Input((8,)),
        tfpbnn.layers.DenseFlipout(50, activation="relu"),
        tfpbnn.layers.DenseFlipout(2),
    ])
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(keras.random.normal((64, 8)), keras.random.normal((64,)))
    ```
    """


@_registry.register("models")
class Model(_WeightedFit, keras.Model):
    """`keras.Model` whose `fit` weights the KL by the data's length.

    Made from inputs and outputs, or subclassed, as in Keras.

    Example:
    ```python
    inputs = keras.Input((8,))
    outputs = tfpbnn.layers.DenseFlipout(2)(inputs)
    model = tfpbnn.Model(inputs, outputs)
    model.compile("adam", loss=tfpbnn.likelihoods.Normal())
    model.fit(keras.random.normal((64, 8)), keras.random.normal((64,)))
    ```
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "Model":
        if cls is Model and (args or "inputs" in kwargs):
            return keras.Model.__new__(FunctionalModel)
        return keras.Model.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        is_functional = len(args) == 2 or "outputs" in kwargs
        if is_functional and not isinstance(self, FunctionalModel):
            _make_functional(type(self))
            FunctionalModel.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)


# `keras.Model(inputs, outputs)` is of this class, which has no public name.
_Functional: Any = type(keras.Model.__new__(keras.Model, None, None))


@_registry.register("models")
class FunctionalModel(Model, _Functional):
    """What `Model(inputs, outputs)` makes.

    Keras would rewrite the bases of `Model` instead, and no subclass of it
    could be written from then on.
    """

    # Keras saves the graph of classes with just its own constructor.
    __init__ = _Functional.__init__


def _make_functional(cls: type) -> None:
    """Exchanges `Model` among the bases of a class, and of theirs.

    As Keras does with `keras.Model` when a subclass is given inputs and
    outputs, but only with classes of the user's.
    """
    for base in cls.__bases__:
        if base is not Model and issubclass(base, Model):
            _make_functional(base)
    cls.__bases__ = tuple(
        FunctionalModel if base is Model else base for base in cls.__bases__
    )
