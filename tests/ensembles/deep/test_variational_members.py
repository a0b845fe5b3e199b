"""Ensembles of networks whose weights have distributions."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests.ensembles.deep.networks import X, Y
from tfpbnn.ensembles import DeepEnsemble, HyperEnsemble, MixedEnsemble
from tfpbnn.layers.kl import kl_terms, managed_weights

CLASSES = [keras.Sequential, tfpbnn.Sequential]


def build(cls=keras.Sequential, width=3, **kwargs):
    network = cls(
        [
            keras.Input((4,)),
            tfpbnn.layers.DenseFlipout(width, activation="tanh", **kwargs),
            tfpbnn.layers.DenseReparameterization(2, **kwargs),
        ]
    )
    for layer in network.layers:  # no noise, so that the likelihood is known
        posterior = layer.kernel_posterior
        posterior.untransformed_scale.assign(np.full(posterior.loc.shape, -30))
    return network


def make(kind, cls=keras.Sequential, **kwargs):
    networks = [build(cls, **kwargs) for _ in range(2)]
    if kind == "stacked":
        ensemble = DeepEnsemble.from_models(networks, member_batch=1)
    elif kind == "hyper":
        left = iter(networks)
        ensemble = HyperEnsemble(lambda **_: next(left), [{}, {}])
    else:
        ensemble = MixedEnsemble([build(cls, 5, **kwargs), networks[0]])
    ensemble.compile(
        keras.optimizers.SGD(0.0), loss=tfpbnn.likelihoods.Normal()
    )
    return ensemble


def kls(ensemble):
    found = [kl_terms(member) for member in ensemble.members]
    return [sum(float(term.divergence()) for term in terms) for terms in found]


@pytest.mark.parametrize("cls", CLASSES, ids=["keras", "tfpbnn"])
@pytest.mark.parametrize("kind", ["stacked", "hyper", "mixed"])
def test_the_kl_is_weighted_counted_once_and_logged(kind, cls):
    """By the number of rows in a fit; by a callback in another."""
    ensemble = make(kind, cls)
    nll = np.mean([-ensemble.loss.log_prob(Y, m(X)) for m in ensemble.members])
    kl = np.mean(kls(ensemble))
    tempered = tfpbnn.callbacks.KLWeight(len(X), temperature=0.1)
    for callbacks, weight in ([], 1 / len(X)), ([tempered], 0.1 / len(X)):
        history = ensemble.fit(X, Y, verbose=0, callbacks=callbacks).history
        for member in ensemble.members:
            weights = managed_weights(member)
            assert len(weights) == 2
            np.testing.assert_allclose(weights, weight, rtol=1e-6)
        np.testing.assert_allclose(
            history["loss"], nll + weight * kl, rtol=1e-4
        )
    np.testing.assert_allclose(history["kl"], kl, rtol=1e-5)


@pytest.mark.parametrize("kind", ["stacked", "hyper", "mixed"])
def test_weights_of_their_own_stay_and_the_kl_is_logged(kind):
    ensemble = make(kind, kl_weight=0.5)
    callback = tfpbnn.callbacks.KLWeight(len(X))
    history = ensemble.fit(X, Y, verbose=0, callbacks=[callback]).history
    np.testing.assert_allclose(history["kl"], np.mean(kls(ensemble)), rtol=1e-5)
    weights = [m.layers[0].kl_weight for m in ensemble.members]
    np.testing.assert_allclose(weights, 0.5)


def test_members_without_a_kl():
    ensemble = DeepEnsemble(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), 2
    )
    ensemble.compile("sgd", loss=tfpbnn.likelihoods.Normal())
    callback = tfpbnn.callbacks.KLWeight(len(X))
    with pytest.raises(ValueError, match="no KL for `KLWeight`"):
        ensemble.fit(X, Y, verbose=0, callbacks=[callback])


@pytest.mark.parametrize("kind", ["stacked", "hyper", "mixed"])
def test_draws_have_no_end(kind):
    p = tfpbnn.predict(make(kind), X, num_samples=7)
    assert p.num_samples == 7
