"""Chains begin at the weights of networks and of ensembles' members."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.mcmc.test_sample import NOISE, X, Y, assert_normal, draw, exact
from tests.mcmc.test_sample import vectors as weights_of
from tfpbnn.densities.problem import Problem
from tfpbnn.mcmc import starts

NORMAL = tfpbnn.likelihoods.Normal(scale=NOISE)
COUNT = 3


def plain(center=0.0, units=1):
    return keras.Sequential(
        [
            keras.Input((X.shape[1],)),
            keras.layers.Normalization(mean=center, variance=1.0),
            keras.layers.Dense(units, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )


def adapted(rows=slice(None)):
    layer = keras.layers.Normalization()
    layer.adapt(X[rows])
    return keras.Sequential(
        [keras.Input((X.shape[1],)), layer, keras.layers.Dense(1)]
    )


def frozen():
    model = plain(units=2)
    model.layers[-2].trainable = False
    return model


def shared_constants(make):
    """Networks with the constants of one, and trained weights of their own."""
    networks = [make() for _ in range(COUNT)]
    for network in networks[1:]:
        random = [id(v) for v in network.trainable_weights]
        for mine, first in zip(
            network.weights, networks[0].weights, strict=True
        ):
            if id(mine) not in random:
                mine.assign(first)
    return networks


def found(model, init, chains=COUNT):
    problem = Problem(model, X, Y, NORMAL, "normal", True, None)
    return starts.find(problem, init, chains, seed=0).vector


def trained(model):
    return np.concatenate(
        [np.ravel(v.numpy()) for v in model.trainable_weights]
    )


@pytest.mark.parametrize("make", [plain, adapted, frozen])
def test_each_chain_begins_at_its_member(make):
    networks = shared_constants(make)
    ensemble = tfpbnn.ensembles.DeepEnsemble.from_models(networks)
    assert starts.natural_count(ensemble, False) == COUNT
    np.testing.assert_array_equal(
        found(networks[0], ensemble), [trained(n) for n in networks]
    )


def test_members_of_a_function():
    ensemble = tfpbnn.ensembles.DeepEnsemble(plain, COUNT)
    vectors = found(plain(), ensemble)
    np.testing.assert_array_equal(
        vectors, [trained(member) for member in ensemble.members]
    )
    assert len(np.unique(vectors[:, 0])) == COUNT


def test_chains_that_learn_from_each_other_are_more_for_each_member():
    ensemble = tfpbnn.ensembles.DeepEnsemble(plain, COUNT)
    assert starts.natural_count(ensemble, True) == 18


OTHERS = {
    "another normalization": lambda: (adapted(), [adapted(slice(9))]),
    "one of several": lambda: (adapted(), [adapted(), adapted(slice(9))]),
    "another frozen layer": lambda: (frozen(), [frozen()]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_members_with_other_constants_are_refused(case):
    """Chains would be of another function than the members are."""
    model, networks = OTHERS[case]()
    init = networks[0]
    if len(networks) > 1:
        init = tfpbnn.ensembles.DeepEnsemble.from_models(networks)
    with pytest.raises(ValueError, match="equal to `model` in all that is not"):
        found(model, init)


@pytest.mark.parametrize("is_in_config", [True, False])
def test_members_with_other_vocabularies_are_refused(is_in_config):
    """Rows of the embedding would be of other words."""

    def words(*vocabulary):
        lookup = keras.layers.StringLookup(
            vocabulary=list(vocabulary) if is_in_config else None
        )
        if not is_in_config:
            lookup.set_vocabulary(list(vocabulary))
        return keras.Sequential(
            [
                keras.Input((2,), dtype="string"),
                lookup,
                keras.layers.Embedding(3, 1),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )

    x = np.array([["a", "b"], ["b", "b"]])
    problem = Problem(words("a", "b"), x, Y[:2], NORMAL, "normal", True, None)
    starts.find(problem, words("a", "b"), 1, seed=0)
    with pytest.raises(ValueError, match="`init` must have the vocabularies"):
        starts.find(problem, words("b", "a"), 1, seed=0)


def test_other_networks_are_refused():
    mixed = tfpbnn.ensembles.DeepEnsemble.from_models([plain(), plain(units=4)])
    with pytest.raises(ValueError, match="a model with the weights of `model`"):
        found(plain(), mixed)


def test_a_microcanonical_ensemble_draws_the_exact_posterior():
    def build():
        return keras.Sequential(
            [keras.Input((X.shape[1],)), keras.layers.Dense(1)]
        )

    ensemble = tfpbnn.ensembles.DeepEnsemble(build, 2)
    ensemble.compile("adam", loss=NORMAL)
    ensemble.fit(X, Y, epochs=2, verbose=0)
    posterior = draw(build(), kernel="mclmc", init=ensemble, num_chains=None)
    assert posterior.num_chains == 2
    assert_normal(weights_of(posterior), *exact(), 0.05)
