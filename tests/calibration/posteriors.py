"""Posteriors of every kind, of random weights: labels are made to fit them."""

import keras
import numpy as np

import tfpbnn
from tests.mcmc.drawn import posterior_of
from tfpbnn import ensembles, layers, likelihoods

X = np.random.default_rng(0).standard_normal((150, 3)).astype("float32")


def network(cls=keras.layers.Dense, loss=None, rate=0.0):
    parts = [
        keras.Input((3,)),
        keras.layers.Dense(8, "tanh"),
        *([keras.layers.Dropout(rate)] if rate else []),
        cls(3),
    ]
    model = keras.Sequential(parts)
    kernel = model.layers[0].kernel
    kernel.assign(3.0 * kernel)
    model.compile("sgd", loss or likelihoods.Categorical())
    return model


def variational():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return network(layers.DenseFlipout, loss)


def swag():
    model = network()
    callback = ensembles.SWAG(start_epoch=0)
    model.fit(X, X[:, 0] > 0, epochs=2, callbacks=[callback], verbose=0)
    return callback.posterior


def laplace():
    model = network()
    y = X[:, 0] > 0
    how = {"prior_precision": 1.0}
    posteriors = [
        tfpbnn.laplace(model, X, y, subset, "diag", **how)
        for subset in ("all", "last_layer")
    ]
    return ensembles.PosteriorMixture(posteriors)


def ivon():
    model = network()
    optimizer = tfpbnn.optimizers.IVON(0.1, ess=5.0)
    model.compile(optimizer, model.loss)
    optimizer.build(model.trainable_variables)
    return optimizer.posterior(model)


def chains():
    loss = likelihoods.Categorical()
    return posterior_of(network(), X, np.zeros(len(X)), loss)


# Name: a function that makes it, and how it is calibrated, once or twice.
KINDS = {
    "plain": (network, ["isotonic"]),
    "variational": (variational, ["temperature"]),
    "mc dropout": (
        lambda: tfpbnn.mc_dropout(network(rate=0.3)),
        ["temperature", "isotonic"],
    ),
    "deep ensemble": (
        lambda: ensembles.DeepEnsemble(network(), 3),
        ["vector_scaling", "isotonic"],
    ),
    "swag": (swag, ["isotonic"]),
    "laplace": (laplace, ["temperature"]),
    "ivon": (ivon, ["isotonic"]),
    "chains": (chains, ["bbq"]),
}


def several():
    """A model with outputs of every kind; one has no loss."""
    x = keras.Input((3,), name="features")
    h = layers.DenseFlipout(8, "tanh")(x)
    sizes = {"kind": 3, "sort": 4, "yes": 2, "size": 2, "price": 2}
    heads = {n: keras.layers.Dense(k, name=n)(h) for n, k in sizes.items()}
    heads["more"] = keras.layers.Dense(2, name="more")(h)
    model = keras.Model(x, heads)
    losses = {
        "kind": likelihoods.Categorical(),
        "sort": likelihoods.Categorical(),
        "yes": likelihoods.Bernoulli(),
        "size": likelihoods.Normal(),
        "price": likelihoods.Normal().adapt(np.array([10.0, 50.0])),
    }
    model.compile("sgd", losses)
    return model
