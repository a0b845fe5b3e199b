"""Defines Keras's model classes with a `fit` for posteriors."""

from typing import Any

import keras

from tfpbnn.base import registry
from tfpbnn.base.keras_private import FUNCTIONAL
from tfpbnn.training.fitting import WeightedFit


@registry.register("models")
class Sequential(WeightedFit, keras.Sequential):
    """A `keras.Sequential` whose `fit` weights the KL by the data's length.

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


@registry.register("models")
class Model(WeightedFit, keras.Model):
    """A `keras.Model` whose `fit` weights the KL by the data's length.

    It is made from inputs and outputs, or subclassed, as in Keras.

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


@registry.register("models")
class FunctionalModel(Model, FUNCTIONAL):
    """The class of `Model(inputs, outputs)`.

    Keras would rewrite the bases of `Model` instead, and no subclass of it
    could be written from then on.
    """

    # Keras saves the graph of classes with just its own constructor.
    __init__ = FUNCTIONAL.__init__


def _make_functional(cls: type) -> None:
    """Replaces `Model` by `FunctionalModel` among the bases of a class.

    Keras does so with `keras.Model` when a subclass is given inputs and
    outputs; here it is done only with the user's own classes.
    """
    for base in cls.__bases__:
        if base is not Model and issubclass(base, Model):
            _make_functional(base)
    cls.__bases__ = tuple(
        FunctionalModel if base is Model else base for base in cls.__bases__
    )
