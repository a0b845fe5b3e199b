"""Features of layers, of all that people bring, against NumPy."""

import keras
import numpy as np
import pytest

import tfpbnn
from tfpbnn import ood
from tfpbnn.ood.features import Features

RNG = np.random.default_rng(0)
N, D = 60, 4
X = RNG.normal(size=(N, D)).astype("float32")


# Models, inputs, the layer, and the features in NumPy.
def convolution():
    inputs = keras.Input((5, 6, 2))
    y = keras.layers.Conv2D(3, 2, name="conv")(inputs)
    y = keras.layers.Flatten()(y)
    model = keras.Model(inputs, keras.layers.Dense(2)(y))
    x = RNG.normal(size=(8, 5, 6, 2)).astype("float32")
    conv = model.get_layer("conv")
    return model, x, "conv", conv(x).numpy().mean(axis=(1, 2))


def masked():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Embedding(9, 3, mask_zero=True, name="tokens"),
            layers.LSTM(2),
            layers.Dense(1),
        ]
    )
    x = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 7]])
    rows = model.get_layer("tokens")(x).numpy()
    means = [r[i > 0].mean(axis=0) for r, i in zip(rows, x, strict=True)]
    return model, x, "tokens", np.array(means)


def two_inputs():
    inputs = {
        "b": keras.Input((2,), name="b"),
        "a": keras.Input((3,), name="a"),
    }
    y = keras.layers.Concatenate()([inputs["b"], inputs["a"]])
    y = keras.layers.Dense(4, name="hidden")(y)
    model = keras.Model(inputs, keras.layers.Dense(1)(y))
    x = {
        "a": RNG.normal(size=(8, 3)).astype("float32"),
        "b": RNG.normal(size=(8, 2)).astype("float32"),
    }
    joined = np.concatenate([x["b"], x["a"]], axis=1)
    return model, x, "hidden", model.get_layer("hidden")(joined).numpy()


def variational():
    layers = tfpbnn.layers
    model = keras.Sequential(
        [
            keras.Input((D,)),
            layers.DenseFlipout(3, activation="relu", name="hidden"),
            layers.MCDropout(0.5),
            layers.DenseFlipout(2),
        ]
    )
    kernel = model.layers[0].kernel_posterior.loc.numpy()
    # By default, what the last layer with a kernel is given.
    return model, X, None, np.maximum(X @ kernel, 0)


def mixed_precision():
    inputs = keras.Input((D,))
    dense = keras.layers.Dense(3, dtype="mixed_float16", name="hidden")
    model = keras.Model(inputs, keras.layers.Dense(1)(dense(inputs)))
    return model, X, "hidden", X @ dense.kernel.numpy()


def steps_first():
    inputs = keras.Input((7, 2))
    y = keras.layers.GRU(3, return_sequences=True, name="gru")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(y))
    x = RNG.normal(size=(5, 7, 2)).astype("float32")
    return model, x, "gru", model.get_layer("gru")(x).numpy().mean(axis=1)


def tokens_in_a_model_in_a_model():
    model, x, layer, expected = masked()
    inputs = keras.Input((4,))
    middle = keras.Model(inputs, keras.layers.Dense(2)(model(inputs)))
    return keras.Sequential([keras.Input((4,)), middle]), x, layer, expected


def default_in_a_model():
    model, x, _, expected = steps_first()
    head = keras.Sequential(
        [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)]
    )
    body = keras.Model(model.input, head(model.get_layer("gru").output))
    inputs = keras.Input((7, 2))
    return keras.Model(inputs, body(inputs)), x, None, expected


MODELS = [
    tokens_in_a_model_in_a_model,
    default_in_a_model,
    convolution,
    masked,
    two_inputs,
    variational,
    mixed_precision,
    steps_first,
]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_features(make):
    model, x, layer, expected = make()
    found = Features(model, layer, "concatenate").batches(x, 3)
    rows = np.concatenate([batch.features for batch in found])
    np.testing.assert_allclose(rows, expected, rtol=2e-2, atol=2e-3)


def test_features_of_members():
    def member():
        return keras.Sequential(
            [
                keras.Input((D,)),
                keras.layers.Dense(2, name="hidden"),
                keras.layers.Dense(1),
            ]
        )

    ensemble = tfpbnn.ensembles.DeepEnsemble.from_models([member(), member()])
    each = [m.get_layer("hidden")(X).numpy() for m in ensemble.members]

    def rows(members):
        found = Features(ensemble, "hidden", members).batches(X, 99)
        return next(found).features

    joined = np.concatenate(each, axis=1)
    np.testing.assert_allclose(rows("concatenate"), joined, rtol=1e-5)
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(rows("average"), mean, rtol=1e-5, atol=1e-6)
    shared = keras.Sequential(
        [
            keras.Input((D,)),
            tfpbnn.layers.DenseBatchEnsemble(3, num_members=2, name="hidden"),
            tfpbnn.layers.DenseBatchEnsemble(1, num_members=2),
        ]
    )
    found = next(Features(shared, "hidden", "concatenate").batches(X, 99))
    assert found.features.shape == (N, 6)


def test_rows_that_are_all_masked():
    model, x, layer, _ = masked()
    score = ood.Mahalanobis().fit(model, x, layer=layer)
    found = score.score(np.array([[1, 2, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(np.isnan(found), [False, True])
    with pytest.raises(ValueError, match="finite features in training"):
        ood.Mahalanobis().fit(model, np.zeros((3, 4), int), layer=layer)


def test_a_layer_that_another_model_has_called_before():
    """Its features are those of the model that was asked for."""
    shared = keras.layers.Dense(2, name="hidden")
    first = keras.Input((D,))
    keras.Model(first, shared(first))
    inputs = keras.Input((D,))
    y = shared(keras.layers.Rescaling(3.0)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(y))
    found = next(Features(model, "hidden", "average").batches(X, 99))
    expected = shared(3 * X).numpy()
    np.testing.assert_allclose(found.features, expected, rtol=1e-5)


def test_the_network_at_the_mean_of_swag():
    """With BatchNorm it needs the statistics that are its own."""
    model = keras.Sequential(
        [
            keras.Input((D,)),
            keras.layers.Dense(2, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    swag = tfpbnn.ensembles.SWAG(start_epoch=0)
    model.fit(X, X[:, :1], epochs=3, callbacks=[swag], verbose=0)
    posterior = swag.posterior
    with pytest.raises(ValueError, match="update_batch_norm"):
        Features(posterior, "norm", "average")
    tfpbnn.ensembles.update_batch_norm(posterior, X)
    found = next(Features(posterior, "hidden", "average").batches(X, 99))
    expected = posterior.network.get_layer("hidden")(X).numpy()
    np.testing.assert_allclose(found.features, expected, rtol=1e-5, atol=1e-6)


def test_members_of_samples_of_weights():
    first = keras.Input((D,))
    model = keras.Model(first, keras.layers.Dense(2, name="last")(first))
    sets = [model.get_weights(), [2 * w for w in model.get_weights()]]
    samples = tfpbnn.ensembles.WeightSamples.from_weights(model, sets)
    found = next(Features(samples, "last", "concatenate").batches(X, 99))
    one = X @ sets[0][0]
    expected = np.concatenate([one, 2 * one], axis=1)
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
