"""Ensembles beside their members, fitted one by one."""

import tfpbnn
from tests.ensembles.deep.networks import differences, mlp
from tfpbnn.ensembles import DeepEnsemble

# In one order, so that fits can be compared.
FIT = {"epochs": 2, "batch_size": 16, "shuffle": False, "verbose": 0}


def compiled(build=mlp, num_members=2, optimizer="adam", **kwargs):
    ensemble = DeepEnsemble(build, num_members, **kwargs)
    ensemble.compile(optimizer, loss=tfpbnn.likelihoods.Normal())
    return ensemble


def fitted_alone(ensemble, x, y, **kwargs):
    """Members as they are, each fitted by itself."""
    networks = list(ensemble.members)
    for network in networks:
        network.fit(x, y, **(FIT | kwargs))
    return networks


def assert_same(members, networks, atol=1e-6):
    """Of an ensemble, or some of its members."""
    members = getattr(members, "members", members)
    for member, network in zip(members, networks, strict=True):
        assert differences(member, network) <= atol
