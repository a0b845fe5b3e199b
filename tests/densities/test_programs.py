"""Densities that differ in anything never share a number that is compiled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.densities.test_log_density import numbers
from tfpbnn.base import programs
from tfpbnn.densities.problem import Problem

NORMAL = tfpbnn.likelihoods.Normal


class Scaled(keras.layers.Layer):
    """A user's layer, with a number of its own."""

    factor = 1.0

    def call(self, x):
        return self.factor * x


def network(activation="tanh"):
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, activation=activation),
            Scaled(),
            keras.layers.BatchNormalization(trainable=False),
            keras.layers.Dense(1),
        ]
    )


def changed(model):
    """A user sets an attribute of a layer."""
    model.layers[1].factor = 1.5


def moved(model):
    """A frozen layer, behind random ones, has other statistics."""
    model.layers[2].moving_mean.assign([0.5, -0.5])


# What differs from the first density, and whether it shares its program.
CASES = {
    "nothing": ({}, True),
    "targets": ({"y": 1 + numbers(1)}, True),
    "inputs": ({"x": 1 + numbers(3)}, True),
    "weights of rows": ({"weights": np.arange(12.0)}, True),
    "frozen weights": ({"before": moved}, True),
    "an attribute": ({"before": changed}, False),
    "the activation": ({"activation": "relu"}, False),
    "the noise": ({"loss": NORMAL(scale=0.5)}, False),
    "the prior": ({"prior": tfpbnn.priors.Normal(scale=2.0)}, False),
    "hyperpriors": (
        {"prior": tfpbnn.priors.HierarchicalNormal("inverse_gamma")},
        False,
    ),
}


def value(run, problem):
    """The density at one vector."""
    vector = np.linspace(-1, 1, problem.parameters.size, dtype="float32")
    data = keras.tree.map_structure(tf.constant, problem.density.data)
    return float(run(tf.constant([vector]), data)[0])


def of(
    x=None,
    y=None,
    loss=NORMAL(scale=1.0),  # noqa: B008
    prior="normal",
    weights=None,
    activation="tanh",
    before=None,
):
    """A problem, and the value that its compiled density has."""
    model = network(activation)
    if before is not None:
        before(model)
    x = numbers(3) if x is None else x
    y = numbers(1) if y is None else y
    problem = Problem(model, x, y, loss, prior, True, weights)
    density = problem.density
    return problem, value(density.compiler.compiled(density.__call__), problem)


@pytest.fixture(scope="module")
def known():
    """All programs that were kept, with that of the first density."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_PROGRAMS", {})
        yield programs._PROGRAMS, of()[1]


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_seen(known, case):
    kept, first = known
    different, shares = CASES[case]
    before = len(kept)
    problem, found = of(**different)
    assert found == pytest.approx(value(problem.density, problem), rel=1e-5)
    assert (len(kept) == before) == shares
    assert (found == first) == (case == "nothing")
