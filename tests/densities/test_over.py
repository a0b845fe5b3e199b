"""The density of many vectors is that of each, whatever can be compiled."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tfpbnn.densities.problem import Problem

ROWS, CHAINS = 6, 3
NORMAL = tfpbnn.likelihoods.Normal(scale=0.5)


class NotForXLA(keras.layers.Layer):
    """A user's layer in Python, which neither XLA nor vectorizing takes."""

    def call(self, x):
        return _doubled(x)


@tf.custom_gradient
def _doubled(x):
    y = tf.numpy_function(lambda v: 2 * v, [x], x.dtype)
    return tf.ensure_shape(y, x.shape), lambda upstream: 2 * upstream


def network(*layers):
    return keras.Sequential([keras.Input((6, 2)), *layers])


MODELS = {
    "dense": lambda: network(
        keras.layers.Dense(3, activation="tanh"),
        keras.layers.Flatten(),
        keras.layers.Dense(1),
    ),
    "convolution": lambda: network(
        keras.layers.Conv1D(3, 3, padding="same", activation="tanh"),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(1),
    ),
    "LSTM": lambda: network(keras.layers.LSTM(3), keras.layers.Dense(1)),
    "Python": lambda: network(
        keras.layers.Flatten(), keras.layers.Dense(1), NotForXLA()
    ),
}


def problem_of(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 6, 2)).astype("float32")
    y = rng.normal(size=(ROWS, 1)).astype("float32")
    problem = Problem(MODELS[name](), x, y, NORMAL, "normal", True, None)
    vectors = rng.normal(size=(CHAINS, problem.parameters.size))
    return problem, vectors.astype("float32")


def with_slope(density):
    def run(vectors, data):
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            value = density(vectors, data)
        return value, tape.gradient(value, vectors)

    return density.compiler.compiled(run)


@pytest.mark.parametrize("name", MODELS)
def test_many_vectors_and_one(name):
    problem, vectors = problem_of(name)
    data = keras.tree.map_structure(tf.constant, problem.density.data)
    run = with_slope(problem.density)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values, slopes = run(tf.constant(vectors), data)
        for vector, value, slope in zip(vectors, values, slopes, strict=True):
            one, its = run(tf.constant(vector[np.newaxis]), data)
            np.testing.assert_allclose(one[0], value, rtol=1e-4)
            np.testing.assert_allclose(its[0], slope, rtol=1e-3, atol=1e-3)
    notes = [w for w in caught if "XLA can't compile" in str(w.message)]
    # Whether XLA takes a loop over recurrent layers is its own affair.
    assert len(notes) == (name == "Python") or name == "LSTM"


@pytest.mark.filterwarnings("ignore:.*`max_tree_depth` lets them be")
def test_chains_run_without_xla_after_one_warning():
    problem, _ = problem_of("Python")
    with pytest.warns(UserWarning, match="XLA can't compile") as caught:
        tfpbnn.mcmc.sample(
            problem.model,
            problem.x,
            np.zeros((ROWS, 1)),
            "hmc",
            likelihood=NORMAL,
            num_chains=1,
            num_warmup=1,
            num_samples=2,
            max_tree_depth=2,
            verbose=0,
        )
    notes = [w for w in caught if "XLA can't compile" in str(w.message)]
    assert len(notes) == 1
