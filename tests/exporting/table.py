"""Posteriors of every kind and models of every structure, to be served.

To add one: a function here that gives a compiled model and a few rows; the
tests do the rest.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tests.layers.table import normal
from tests.particles import table
from tfpbnn import layers, likelihoods, particles, random

X = normal(5, 3)
NOISY = table.NOISY


@dataclasses.dataclass(frozen=True)
class Served:
    """What is exported, and how it answers.

    Attributes:
        model: the posterior.
        x: rows, in the model's own structure.
        inputs: the same by name.
        has_apart: whether rows are drawn apart where that is cheaper.
        kwargs: further arguments of `export`.
    """

    model: Any
    x: Any
    inputs: dict[str, Any]
    has_apart: bool = False
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)


def compiled(model, loss=None):
    model.compile("adam", loss=loss or likelihoods.Normal())
    return model


def variational():
    """A layer of each estimator."""
    chain = [
        keras.Input((3,), name="features"),
        table.dense(6, "tanh", cls=layers.DenseReparameterization),
        table.dense(4, "tanh", cls=layers.DenseLocalReparameterization),
        table.dense(2, cls=layers.DenseFlipout),
    ]
    model = compiled(keras.Sequential(chain))
    return Served(model, X, {"features": X}, has_apart=True)


def mc_dropout():
    """Classes, by a Keras loss; unnamed inputs."""
    plain = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(4),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = tfpbnn.mc_dropout(compiled(plain, loss))
    return Served(model, X, {"inputs": X}, has_apart=True)


def concrete_dropout():
    """Counts."""
    x = keras.Input((3,), name="features")
    h = keras.layers.Dense(8, "relu")(x)
    h = layers.ConcreteDropout(keras.layers.Dense(1))(h)
    model = compiled(keras.Model(x, h), likelihoods.Poisson())
    return Served(model, X, {"features": X}, has_apart=True)


class Members(particles.Posterior, keras.Model):
    """Three lines, none of which stands for all."""

    num_draws, has_mean = 3, False

    def __init__(self):
        super().__init__()
        self.slopes = self.add_weight(shape=(3, 3, 2), initializer="normal")
        self.built = True

    def draw(self, x, number, key):
        del key
        return tf.matmul(x, tf.gather(self.slopes, number % 3))

    def draw_spec(self, x):
        return keras.KerasTensor((x.shape[0], 2))


class Cloud(Members):
    """A Normal about the first line."""

    num_draws, has_mean = None, True

    def draw(self, x, number, key):
        slope = tf.convert_to_tensor(self.slopes)[0]
        if key is not None:
            slope += random.normal(key, slope.shape)
        return tf.matmul(x, slope)


def ensemble():
    return Served(compiled(Members()), X, {"inputs": X}, kwargs={"warmup": X})


def posterior():
    return Served(compiled(Cloud()), X, {"inputs": X}, kwargs={"warmup": X})


def residual():
    model, x = table.settled(table.residual)
    loss = likelihoods.Normal(scale=0.5)
    return Served(compiled(model, loss), x, {"inputs": x}, has_apart=True)


def several():
    model, x = table.several_inputs()
    losses = {
        "one": likelihoods.Normal(),
        "other": likelihoods.Laplace(scale=1.0),
        "sum": likelihoods.Bernoulli(),
    }
    return Served(compiled(model, losses), x, x, has_apart=True)


def words():
    """Strings and integers, with tables and arithmetic in the graph."""
    colour = keras.Input((), dtype="string", name="colour")
    count = keras.Input((2,), dtype="int32", name="count")
    vocabulary = ["red", "green"]
    one_hot = keras.layers.StringLookup(
        vocabulary=vocabulary, output_mode="one_hot"
    )(colour)
    scaled = keras.layers.Rescaling(0.1)(count)
    h = keras.layers.Concatenate()([one_hot, scaled])
    model = keras.Model([colour, count], table.dense(2)(h))
    x = [
        np.array(["red", "blue", "green"]),
        np.array([[1, 2], [3, 4], [5, 6]], "int32"),
    ]
    named = {"colour": x[0], "count": x[1]}
    return Served(compiled(model), x, named, has_apart=True)


def conv():
    model, x = table.settled(table.conv)
    return Served(compiled(model), x, {"inputs": x})


def recurrent():
    model, x = table.recurrent()
    return Served(compiled(model), x, {"inputs": x})


def subclassed():
    model, x = table.subclassed()
    return Served(compiled(model), x, {"inputs": x}, kwargs={"warmup": x})


ALL = (
    variational,
    mc_dropout,
    concrete_dropout,
    ensemble,
    posterior,
    residual,
    several,
    words,
    conv,
    recurrent,
    subclassed,
)
