"""Posteriors of every kind and models of every structure, to be served.

To add one: a function here that gives a compiled model and a few rows; the
tests do the rest.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

import tfpbnn
from tests.layers.table import normal
from tests.mcmc.drawn import posterior_of
from tests.particles import table
from tfpbnn import layers, likelihoods

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


def network():
    return keras.Sequential(
        [
            keras.Input((3,), name="features"),
            keras.layers.Dense(4, "tanh"),
            keras.layers.Dense(2),
        ]
    )


def deep_ensemble():
    model = compiled(tfpbnn.ensembles.DeepEnsemble(network, 3))
    return Served(model, X, {"features": X})


def swag():
    """Of a few steps far apart, so that its draws differ."""
    model = network()
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(optimizer, loss=likelihoods.Normal())
    collect = tfpbnn.ensembles.SWAG(start_epoch=0, rank=3)
    model.fit(X, X[:, 0], epochs=5, callbacks=[collect], verbose=0)
    return Served(collect.posterior, X, {"features": X})


def chains():
    loss = likelihoods.Normal()
    posterior = posterior_of(network(), X, X[:, :1], loss, 3, 1)
    return Served(posterior, X, {"features": X})


def laplace():
    """The network to first order, whose slopes are in the graph."""
    posterior = tfpbnn.laplace(compiled(network()), X, X[:, 0], "all", "full")
    posterior.prior_precision = 10.0
    return Served(posterior, X, {"features": X})


def probit():
    """Probabilities of classes, without draws."""
    model = compiled(network(), likelihoods.Categorical())
    posterior = tfpbnn.laplace(model, X, [0, 1, 0, 1, 1], link="probit")
    return Served(posterior, X, {"features": X})


def multi_swag():
    parts = [swag().model for _ in range(2)]
    mixture = tfpbnn.ensembles.MultiSWAG(parts)
    return Served(mixture, X, {"features": X})


def batch_ensemble():
    model = network()
    model.compile("adam", loss=likelihoods.Normal())
    many = tfpbnn.ensembles.to_batch_ensemble(
        model, num_members=3, fast_initializer="random_sign"
    )
    return Served(many, X, {"features": X})


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
    deep_ensemble,
    swag,
    chains,
    laplace,
    probit,
    batch_ensemble,
    residual,
    several,
    words,
    conv,
    recurrent,
    subclassed,
)
