"""Members that share the weights of frozen layers."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.ensembles import DeepEnsemble

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1] ** 2


def network():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(50, "tanh", trainable=False, name="backbone"),
            keras.layers.BatchNormalization(trainable=False),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1, name="head"),
        ]
    )


@pytest.fixture(scope="module")
def ensembles():
    """The same members, with frozen weights that are stacked and shared."""
    keras.utils.set_random_seed(0)
    first = DeepEnsemble(network(), 3)
    members = [first.member(i) for i in range(3)]
    made = [
        DeepEnsemble.from_models(members, share_frozen=share)
        for share in (False, True)
    ]
    for ensemble in made:
        ensemble.compile(keras.optimizers.SGD(0.05), "mse")
        ensemble.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    return made


def test_they_learn_the_same_in_less_memory(ensembles):
    found = [tfpbnn.predict(e, X, verbose=0).outputs for e in ensembles]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)
    assert np.std(found[1], axis=0).min() > 1e-4
    sizes = [sum(int(np.prod(v.shape)) for v in e.weights) for e in ensembles]
    assert sizes[0] - sizes[1] == 2 * (4 * 50 + 50 + 4 * 50)
    trained = [len(e.trainable_weights) for e in ensembles]
    assert trained[0] == trained[1]


def test_they_are_saved_once_and_members_are_whole(ensembles, tmp_path):
    expected = tfpbnn.predict(ensembles[1], X, verbose=0).outputs
    ensembles[1].save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.share_frozen
    found = tfpbnn.predict(loaded, X, verbose=0).outputs
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    member = loaded.member(2)
    np.testing.assert_allclose(
        member.predict(X, verbose=0), expected[2], rtol=1e-4, atol=1e-6
    )
    loaded.set_member(0, member)
    found = tfpbnn.predict(loaded, X, verbose=0).outputs
    np.testing.assert_allclose(found[0], expected[2], rtol=1e-4, atol=1e-6)


def test_frozen_weights_that_differ_are_refused(ensembles):
    with pytest.raises(ValueError, match="whose frozen weights are the same"):
        DeepEnsemble(network, 2, share_frozen=True)
    other = ensembles[1].member(0)
    kernel = other.get_layer("backbone").kernel
    kernel.assign(kernel + 1.0)
    with pytest.raises(ValueError, match="`network` must have the frozen"):
        ensembles[1].set_member(1, other)
