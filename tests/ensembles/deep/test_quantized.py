"""Networks that were quantized, as members and as sets of weights."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn.ensembles import DeepEnsemble, WeightSamples

X = np.random.default_rng(0).standard_normal((12, 8)).astype("float32")
LIKELIHOOD = tfpbnn.likelihoods.Normal(scale=1.0)


def network(mode, seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    for layer in model.layers:
        layer.quantize(mode)
    # As training would: amounts that copies don't start with.
    for v in model.weights:
        if v.name == "kernel_scale" and mode == "float8":
            v.assign(0.01 * (1 + seed))
        if v.name == "bias":
            v.assign(np.full(v.shape, seed, "float32"))
    return model


@pytest.fixture(scope="module", params=["float8", "int8", "int4"])
def members(request):
    models = [network(request.param, seed) for seed in range(3)]
    outputs = np.stack([m.predict(X, verbose=0) for m in models])
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1
    return models, outputs


def outputs_of(posterior):
    return tfpbnn.predict(posterior, X, likelihood=LIKELIHOOD).outputs


def reloaded(posterior, folder):
    posterior.save(folder / "posterior.keras")
    return keras.saving.load_model(folder / "posterior.keras")


@pytest.mark.parametrize("make", ["ensemble", "samples"])
def test_each_is_itself(members, make, tmp_path):
    models, expected = members
    if make == "ensemble":
        posterior = DeepEnsemble.from_models(models)
    else:
        weights = [m.get_weights() for m in models]
        posterior = WeightSamples.from_weights(models[0], weights)
    for found in (posterior, reloaded(posterior, tmp_path)):
        np.testing.assert_allclose(outputs_of(found), expected, rtol=1e-5)
    third = posterior.members[2].predict(X, verbose=0)
    np.testing.assert_allclose(third, expected[2], rtol=1e-5)


def test_a_member_is_replaced(members):
    models, expected = members
    posterior = DeepEnsemble.from_models(models)
    posterior.set_member(0, models[1])
    np.testing.assert_allclose(outputs_of(posterior)[0], expected[1], rtol=1e-5)


def test_float8_is_not_trained_together():
    model = network("float8", 0)
    ensemble = DeepEnsemble.from_models([model, network("float8", 1)])
    ensemble.compile("adam", loss=LIKELIHOOD)
    with pytest.raises(ValueError, match=r"float8 can't .* Received: .*scale"):
        ensemble.fit(X, X[:, :1], verbose=0)


def test_integers_that_floats_can_not_hold():
    class Count(keras.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False
            )

        def call(self, x):
            return x + keras.ops.cast(self.count, x.dtype)

    model = keras.Sequential([keras.Input((8,)), Count()])
    sets = [[np.int32(1)], [np.int32(2)]]
    found = outputs_of(WeightSamples.from_weights(model, sets))
    np.testing.assert_allclose(found, [X + 1, X + 2], rtol=1e-6)
    with pytest.raises(ValueError, match=r"`weights` .* Received: int32"):
        WeightSamples.from_weights(model, [*sets, [np.int32(2**24 + 1)]])
