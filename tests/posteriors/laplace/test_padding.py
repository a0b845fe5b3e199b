"""Targets at padded places may be anything, however the network is nested."""

import keras
import numpy as np
import pytest
import scipy.stats

import tfpbnn
from tfpbnn import likelihoods
from tfpbnn.densities.problem import Problem

L = keras.layers
TOKENS = np.array([[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 1]], "int32")
Y = np.random.default_rng(0).normal(size=(3, 4, 1))
PADDED = np.where(TOKENS[..., None] > 0, Y, np.nan)
WEIGHTS = np.array([1.0, 2.0, 0.5])


def words():
    return keras.Input((4,), dtype="int32")


def tags():
    x = words()
    h = L.Embedding(9, 3, mask_zero=True)(x)
    return keras.Model(x, L.Dense(1)(h))


def inside():
    x = words()
    return keras.Model(x, tags()(x))


def in_a_sequence():
    return keras.Sequential([words(), tags(), L.Dense(1)])


def before():
    x, given = words(), words()
    lookup = keras.Model(given, L.Embedding(9, 3, mask_zero=True)(given))
    return keras.Model(x, L.TimeDistributed(L.Dense(1))(lookup(x)))


PLACES = [tags, inside, in_a_sequence, before]


def laplace(model, y):
    how = {"structure": "diag", "prior_precision": 1.0, "batch_size": 2}
    found = tfpbnn.laplace(
        model, TOKENS, y, "all", sample_weight=WEIGHTS, **how
    )
    return found.log_likelihood


def density(model, y):
    loss = model.loss
    problem = Problem(model, TOKENS, y, loss, "normal", True, WEIGHTS)
    parameters = problem.parameters
    vector = parameters.vector_of([np.asarray(v) for v in parameters.variables])
    return problem.density.terms(vector)["likelihood"]


@pytest.mark.parametrize("find", [laplace, density])
@pytest.mark.parametrize("make", PLACES)
def test_padding_counts_for_nothing(make, find):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("sgd", likelihoods.Normal(0.7))
    each = scipy.stats.norm(np.asarray(model(TOKENS)), 0.7).logpdf(Y)
    expected = np.sum(each * WEIGHTS[:, None, None] * (TOKENS > 0)[..., None])
    assert np.isclose(find(model, PADDED), expected, rtol=1e-5)
    wrong = np.where(TOKENS[..., None] == 5, np.nan, PADDED)
    with pytest.raises(ValueError, match=r"`y` must be finite.*1, 1, 0"):
        find(model, wrong)
