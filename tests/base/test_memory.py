"""What is dropped is freed: models, what was compiled of them, and graphs."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn import ensembles, likelihoods, random
from tfpbnn.base import gradients
from tfpbnn.base.kept import kept_with

L = keras.layers
X = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
Y = X[:, :1]


def network():
    return keras.Sequential([keras.Input((2,)), L.Dense(1)])


def fitted(model, **kwargs):
    model.compile("sgd", likelihoods.Normal(0.5))
    model.fit(X, Y, verbose=0, **kwargs)
    return model


def variational():
    return [fitted(tfpbnn.to_variational(network()))]


def alone():
    """Without predictions, which free what was there before them."""
    dense = tfpbnn.layers.DenseFlipout(1)
    weight = tfpbnn.callbacks.KLWeight(num_examples=8)
    model = keras.Sequential([keras.Input((2,)), dense])
    return [fitted(model, callbacks=[weight])]


def with_a_way_back():
    """Of which a layer knows the model, as the user's code may have it."""
    models = []
    layers = [
        L.Lambda(lambda x: x + len(models), output_shape=(2,)),
        tfpbnn.layers.DenseFlipout(1),
    ]
    models.append(keras.Sequential([keras.Input((2,)), *layers]))
    return models


def deep_ensemble():
    return [fitted(ensembles.DeepEnsemble(network, num_members=2))]


def swag():
    callback = ensembles.SWAG(0, 2)
    model = fitted(network(), epochs=2, callbacks=[callback])
    return [callback.posterior, model]


def laplace():
    model = fitted(network())
    return [tfpbnn.laplace(model, X, Y), model]


def stacks():
    model = network()
    values = [np.stack([v, v]) for v in model.get_weights()]
    tfpbnn.particles.stack_predict(model, values, X)
    return [model]


def trained_graphs():
    """Those of steps of `fit` that are still there."""
    found = [o for o in gc.get_objects() if isinstance(o, tf.Graph)]
    return [g for g in found if getattr(g, "name", "") == "one_step_on_data"]


def used(make):
    """Makes models and draws of the first; returns weak references to them."""
    models = make()
    if make not in (stacks, alone):
        draws = tfpbnn.particles.draw_function(models[0], X)
        draws.draws(X, random.as_key(0), 0, 1)
    return [weakref.ref(model) for model in models]


@pytest.mark.parametrize(
    "make",
    [
        variational,
        alone,
        with_a_way_back,
        deep_ensemble,
        swag,
        laplace,
        stacks,
    ],
)
@pytest.mark.usefixtures("quick_gc")
def test_what_is_dropped_is_freed(make):
    dropped = used(make)
    gc.collect()
    assert not [ref() for ref in dropped if ref() is not None]
    assert not trained_graphs()


def cubed(function_of):
    """The function x^3, whose gradient is said to be 10, in a graph."""

    @tf.custom_gradient
    def cube(x):
        return x**3, lambda upstream: 10 * upstream

    return function_of(cube)


@pytest.mark.usefixtures("quick_gc")
def test_gradients_are_there_as_long_as_their_graphs():
    """Also those that are asked for long after the trace."""
    function = cubed(lambda f: tf.function(f, autograph=False))
    x = tf.constant(2.0)
    graph = weakref.ref(function.get_concrete_function(x).graph)
    gradients.release()
    gc.collect()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    assert tape.gradient(y, x) == 10
    del function, tape, y
    gradients.release()  # of the graph in which the gradient was traced
    gc.collect()
    assert graph() is None


def test_what_is_kept_with_an_object_is_its_own():
    first, second = network(), network()
    kept_with(first, "draws")["key"] = 1
    assert kept_with(first, "draws") == {"key": 1}
    assert kept_with(first, "stacks") == kept_with(second, "draws") == {}
