"""Adapters of several members on one backbone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.lora.models import IMAGES, LABELS, LOSS, bert, network, tokens
from tfpbnn import lora, random
from tfpbnn.ensembles import DeepEnsemble

MEMBERS = 2
CASES = {
    "network": (
        network,
        lambda: IMAGES,
        {"targets": ["attention", "conv", "inner"], "also_train": "head"},
    ),
    "bert": (bert, tokens, {"also_train": "logits"}),
}
# What of an ensemble does not depend on the network is shown of one.
on_a_network = pytest.mark.parametrize("case", ["network"], indirect=True)


def numbers(weights):
    """Without the states of random numbers, which are integers."""
    return [v for v in weights if "float" in v.dtype]


def count(weights):
    return sum(int(np.prod(v.shape)) for v in numbers(weights))


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A plain model, its inputs and predictions, and a trained ensemble."""
    make, x, kwargs = CASES[request.param]
    model, x = make(), x()
    before = model(x)
    ensemble = lora.add_lora(
        model, 2, method="ensemble", num_members=MEMBERS, **kwargs
    )
    # Its weights are small at the start: only long steps tell members apart.
    rate = 0.3 if request.param == "bert" else 0.03
    ensemble.compile(keras.optimizers.Adam(rate), loss=LOSS)
    new = ensemble.predict(x, verbose=0)
    np.testing.assert_allclose(new, before, rtol=1e-5, atol=1e-6)
    backbone = numbers(ensemble.non_trainable_weights)
    values = [np.array(v) for v in backbone]
    ensemble.fit(x, LABELS, epochs=2, verbose=0)
    for old, now in zip(values, backbone, strict=True):
        np.testing.assert_array_equal(old, now)
    np.testing.assert_array_equal(model(x), before)
    return model, x, ensemble


def test_the_backbone_is_there_once(case):
    model, _, ensemble = case
    one = lora.report(ensemble.member(0))
    assert count(ensemble.trainable_weights) == MEMBERS * one.trainable
    assert count(ensemble.non_trainable_weights) == one.frozen
    own = {id(v) for v in model.weights}
    assert not any(id(v) in own for v in ensemble.weights)


def test_members_are_draws(case, tmp_path):
    model, x, ensemble = case
    p = tfpbnn.predict(ensemble, x, verbose=0)
    assert p.num_samples == MEMBERS
    assert np.std(p.outputs, axis=0).max() > 1e-3
    members = [ensemble.member(i) for i in range(MEMBERS)]
    paths = [tmp_path / f"{i}.npz" for i in range(MEMBERS)]
    for i, (member, path) in enumerate(zip(members, paths, strict=True)):
        with random.draw_scope(None):
            found = member(x)
        np.testing.assert_allclose(found, p.outputs[i], rtol=1e-4, atol=1e-6)
        lora.save_adapters(member, path)
    again = DeepEnsemble.from_models(
        [lora.load_adapters(model, path, in_place=True) for path in paths],
        share_frozen=True,
    )
    own = {id(v) for v in model.weights}
    shared = [v for v in again.weights if id(v) in own]
    assert count(shared) == count(ensemble.non_trainable_weights)
    again.compile(loss=LOSS)
    found = tfpbnn.predict(again, x, verbose=0).outputs
    np.testing.assert_allclose(found, p.outputs, rtol=1e-4, atol=1e-6)


@on_a_network
def test_it_goes_to_a_file_and_back(case, tmp_path):
    _, x, ensemble = case
    expected = tfpbnn.predict(ensemble, x, verbose=0).outputs
    ensemble.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert count(loaded.weights) == count(ensemble.weights)
    found = tfpbnn.predict(loaded, x, verbose=0).outputs
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@on_a_network
def test_members_learn_as_alone(case):
    """The same steps as those of a member that is trained by itself."""
    model, x, _ = case
    kwargs = CASES["network"][2]
    ensemble = lora.add_lora(
        model, 2, method="ensemble", num_members=2, in_place=True, **kwargs
    )
    ensemble.compile(keras.optimizers.SGD(0.1), loss=LOSS)
    members = [ensemble.member(i) for i in range(2)]
    for one in (ensemble, *members):
        one.fit(x, LABELS, batch_size=24, shuffle=False, verbose=0)
    found = tfpbnn.predict(ensemble, x, verbose=0).outputs
    for member, outputs in zip(members, found, strict=True):
        expected = member.predict(x, verbose=0)
        np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-5)


@on_a_network
def test_an_exported_ensemble_predicts_as_predict_does(case, tmp_path):
    _, x, ensemble = case
    asked = ["serving_default"]
    tfpbnn.export(ensemble, tmp_path / "served", signatures=asked)
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    signature = served["serving_default"]
    (name,) = signature.structured_input_signature[1]
    found = signature(**{name: tf.constant(x)})
    mean = tfpbnn.predict(ensemble, x, verbose=0).mean
    assert any(
        value.shape == mean.shape
        and np.allclose(value, mean, rtol=1e-4, atol=1e-6)
        for value in found.values()
    )


@on_a_network
def test_what_is_of_one_network_asks_for_a_member(case, tmp_path):
    ensemble = case[2]
    for function in (lora.merge, lora.report, lora.tfb):
        arguments = (IMAGES,) if function is lora.tfb else ()
        with pytest.raises(TypeError, match=r"one of its `members`"):
            function(ensemble, *arguments)
    with pytest.raises(TypeError, match=r"one of its `members`"):
        lora.save_adapters(ensemble, tmp_path / "adapters.npz")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_members": 3}, 'must be None unless method="ensemble"'),
        ({"method": "ensemble", "num_members": 0}, "`num_members` must be"),
    ],
)
def test_bad_numbers(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lora.add_lora(network(), 1, targets="conv", **kwargs)
