"""Every copy of a network with the layers that people bring is as it is."""

import json

import keras
import numpy as np
import pytest

import tfpbnn
from tests import fresh
from tests.networks import people
from tfpbnn import ensembles
from tfpbnn.families import PointEstimate
from tfpbnn.networks import states

# Keras warns of a user's layer that builds what it holds when it is called.
pytestmark = pytest.mark.filterwarnings("ignore:.*called on layer 'block")
RATE = 1e-12


def compiled(model):
    losses = dict.fromkeys(model.output, "mse")
    model.compile(keras.optimizers.SGD(RATE), losses)
    return model


@pytest.fixture(scope="module")
def model():
    return compiled(people.model())


@pytest.fixture(scope="module")
def trained(model):
    """What callbacks collect in a training that moves nothing."""
    callbacks = {
        "swa": ensembles.SWA(start_epoch=0),
        "swag": ensembles.SWAG(start_epoch=0, rank=2),
        "snapshots": ensembles.SnapshotEnsemble(2, learning_rate=RATE),
    }
    y = {name: np.zeros((8, 2)) for name in model.output}
    model.fit(
        people.DATA, y, epochs=2, verbose=0, callbacks=[*callbacks.values()]
    )
    return callbacks


def frozen(model):
    bayes = tfpbnn.to_variational(model)
    tfpbnn.freeze_scales(bayes)
    return bayes


def multi_swag(trained):
    """Of components that are models of their own."""
    parts = [trained["swag"].posterior for _ in range(2)]
    return ensembles.MultiSWAG(parts)


def one_member(ensemble, model):
    ensemble.set_member(1, model)
    return ensemble.members[1]


def all_members(ensemble, model):
    for number in range(ensemble.num_members):
        ensemble.set_member(number, model)
    return ensemble


def alike(model):
    return all_members(ensembles.DeepEnsemble(model, 2), model)


COPIES = {
    "to_variational": lambda m, _: tfpbnn.to_variational(m),
    "freeze_scales": lambda m, _: frozen(m),
    "to_deterministic": lambda m, _: tfpbnn.to_deterministic(frozen(m)),
    "prune": lambda m, _: tfpbnn.prune(frozen(m), keep=1.0),
    "mc_dropout": lambda m, _: tfpbnn.mc_dropout(m),
    "mc_dropout_rate": lambda m, _: tfpbnn.mc_dropout(m, rate=0.3),
    "deep_ensemble": lambda m, _: alike(m),
    "member": lambda m, _: one_member(ensembles.DeepEnsemble(m, 2), m),
    "hyper_ensemble": lambda m, _: all_members(
        ensembles.HyperEnsemble(
            lambda **_: people.model(), [{"a": 1}, {"a": 2}]
        ),
        m,
    ),
    "to_masksembles": lambda m, _: ensembles.to_masksembles(m, 1),
    "to_batch_ensemble": lambda m, _: ensembles.to_batch_ensemble(
        m, 1, fast_initializer="ones"
    ),
    "to_rank1": lambda m, _: ensembles.to_rank1(
        m, 1, fast_posterior=PointEstimate(loc_initializer="ones")
    ),
    "swa": lambda _, c: c["swa"].average(),
    "swag": lambda _, c: c["swag"].posterior,
    "materialized": lambda _, c: c["swag"].posterior.materialize(2, seed=0),
    "multi_swag": lambda _, c: multi_swag(c),
    "snapshots": lambda _, c: c["snapshots"].posterior,
    "snapshot": lambda _, c: c["snapshots"].posterior.members[1],
    "weight_samples": lambda m, _: ensembles.WeightSamples.from_weights(
        m, [m.get_weights()] * 2
    ),
}


@pytest.fixture(scope="module")
def copies(model, trained):
    return {name: make(model, trained) for name, make in COPIES.items()}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_the_same_function_at_once(name, model, copies):
    expected, found = people.outputs_of(model), people.outputs_of(copies[name])
    assert found.keys() == expected.keys()
    for output, y in expected.items():
        np.testing.assert_allclose(found[output], y, atol=1e-5, err_msg=output)


# One of each class of models.
SAVED = (
    "to_variational",
    "to_deterministic",
    "mc_dropout",
    "deep_ensemble",
    "hyper_ensemble",
    "to_masksembles",
    "to_batch_ensemble",
    "swag",
    "multi_swag",
    "snapshots",
)
_LOAD = """
import json, sys
import keras, numpy as np
from tests.networks import people

for path in json.loads(sys.argv[1]):
    model = keras.saving.load_model(path)
    np.savez(path + ".npz", **people.outputs_of(model))
"""


def test_and_in_a_fresh_process(model, copies, tmp_path):
    paths = {name: str(tmp_path / f"{name}.keras") for name in SAVED}
    for name, path in paths.items():
        copies[name].save(path)
    fresh.run(_LOAD, json.dumps(list(paths.values())))
    for name, path in paths.items():
        found = np.load(path + ".npz")
        for output, y in people.outputs_of(model, unsaved=False).items():
            np.testing.assert_allclose(
                found[output], y, atol=1e-5, err_msg=f"{name}, {output}"
            )


def check_members(ensemble, expected, path):
    """Each member is a network, at once and when it is loaded."""
    for number, outputs in enumerate(expected):
        drawn = ensemble.draw(people.DATA, np.int64(number), None)
        member = people.outputs_of(ensemble.members[number])
        for output, y in outputs.items():
            np.testing.assert_allclose(drawn[output], y, atol=1e-5)
            np.testing.assert_allclose(member[output], y, atol=1e-5)
    ensemble.save(path)
    fresh.run(_LOAD, json.dumps([path]))
    found = np.load(path + ".npz")
    for output in people.outputs_of(ensemble, unsaved=False):
        mean = (expected[0][output] + expected[1][output]) / 2
        np.testing.assert_allclose(found[output], mean, atol=1e-5)


def test_members_adapted_to_other_data_keep_their_own(tmp_path):
    # These are alike but for what is in no config.
    names = ["normalization", "own_variables", "own_assets", "constant"]
    networks = [people.model(shift, names) for shift in (0.0, 2.0)]
    expected = [people.outputs_of(network) for network in networks]
    remaining = iter([people.model(shift, names) for shift in (0.0, 2.0)])
    made = ensembles.DeepEnsemble(lambda: next(remaining), 2)
    for number, network in enumerate(networks):
        made.set_member(number, network)
    given = ensembles.DeepEnsemble.from_models(networks)
    assert isinstance(given, ensembles.DeepEnsemble)
    for number, ensemble in enumerate((made, given)):
        check_members(ensemble, expected, str(tmp_path / f"{number}.keras"))
        with pytest.raises(ValueError, match="vocabularies, adapted layers"):
            ensemble.set_member(0, networks[1])


def test_members_with_other_vocabularies_keep_their_own(tmp_path):
    networks = [people.model(), people.model(2.0)]
    expected = [people.outputs_of(network) for network in networks]
    ensemble = ensembles.DeepEnsemble.from_models(networks)
    check_members(ensemble, expected, str(tmp_path / "mixed.keras"))
    # Boundaries of bins are in the config alone.
    with pytest.raises(ValueError, match="with another config"):
        ensemble.set_member(0, networks[1])


def test_weights_that_are_constants_are_no_samples():
    names = ["normalization"]
    sets = [people.model(s, names).get_weights() for s in (0.0, 2.0)]
    with pytest.raises(ValueError, match=r"constants.*'normalization"):
        ensembles.WeightSamples.from_weights(people.model(0.0, names), sets)


@pytest.mark.parametrize("name", ["packed", "mimo"])
def test_new_networks_see_data_as_the_model_did(name):
    normalization = keras.layers.Normalization()
    normalization.adapt(people.NUMBERS)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            normalization,
            keras.layers.Dense(8, "relu"),
            keras.layers.Dense(2),
        ]
    )
    make = getattr(ensembles, f"to_{name.replace('packed', 'packed_ensemble')}")
    new = make(model, 2)
    (layer,) = [x for x in new.layers if isinstance(x, type(normalization))]
    assert states.are_same(layer, normalization)
    new.compile("sgd", "mse")
    new.fit(people.NUMBERS, np.zeros((8, 2)), verbose=0)
    found = layer(people.NUMBERS)
    np.testing.assert_allclose(found, normalization(people.NUMBERS))
