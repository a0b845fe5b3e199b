"""Packed ensembles, MIMO and Masksembles: members in one pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.ensembles.one_network.data import (
    LOSS,
    check_loads,
    cnn,
    digits,
    mlp,
    trained,
)
from tfpbnn import ensembles, layers
from tfpbnn.particles.split import DrawGraph

MAKE = {
    "packed": lambda model: ensembles.to_packed_ensemble(model, 3, alpha=3),
    "mimo": lambda model: ensembles.to_mimo(model, 2, 0.2, 2),
    "masksembles": lambda model: ensembles.to_masksembles(model, 3, 1.5),
}
X = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype("float32")


@pytest.fixture(scope="module")
def models():
    """Trained on digits, the first under XLA."""
    return {
        name: trained(make, jit_compile=name == "packed")
        for name, make in MAKE.items()
    }


@pytest.mark.parametrize("name", MAKE)
def test_members_differ_and_the_mean_is_predicted(models, name):
    _, _, x, y = digits()
    model = models[name]
    p = tfpbnn.predict(model, x)
    assert p.num_samples == model.num_members
    assert p.evaluate(y)["accuracy"] > 0.8
    assert np.abs(p.outputs[0] - p.outputs[1]).mean() > 0.05
    mean = model.predict(x, batch_size=64, verbose=0)
    np.testing.assert_allclose(mean, p.outputs.mean(0), atol=1e-4)
    loss = model.evaluate(x, y, batch_size=500, verbose=0)
    np.testing.assert_allclose(loss, LOSS(y, mean), rtol=1e-4)


def test_a_packed_ensemble_beats_one_network(models):
    _, _, x, y = digits()
    one = tfpbnn.evaluate(trained(lambda model: model), x, y, draws="mean")
    assert tfpbnn.evaluate(models["packed"], x, y)["nll"] < one["nll"]


@pytest.mark.parametrize("name", ["packed", "mimo"])
def test_all_members_are_of_one_pass(models, name):
    """All that differs between draws is which outputs are taken."""
    (call,) = DrawGraph(models[name]).touched_calls
    assert type(call.op) is layers.SplitMembers


def test_models_load_in_a_fresh_process(models, tmp_path):
    _, _, x, _ = digits()
    plain = mlp()
    plain.compile(loss=LOSS)
    shared = [
        ensembles.to_batch_ensemble(plain, 3),
        ensembles.to_rank1(plain, 3),
    ]
    check_loads([*models.values(), *shared], x[:10], tmp_path)


@pytest.mark.parametrize("name", MAKE)
def test_a_convolutional_network_in_mixed_precision(name):
    """With BatchNorm, a residual, a model in it and a softmax at the end."""
    keras.config.set_dtype_policy("mixed_float16")
    base = cnn()
    loss = keras.losses.SparseCategoricalCrossentropy()
    base.compile("sgd", loss, metrics=["accuracy"], jit_compile=False)
    model = MAKE[name](base)
    y = np.array([0, 1, 2, 0, 1])
    dataset = tf.data.Dataset.from_tensor_slices((X, y, np.ones(5))).batch(3)
    history = model.fit(dataset, validation_data=(X, y), verbose=0).history
    assert {"accuracy", "val_accuracy"} < set(history)
    assert all(np.isfinite(values).all() for values in history.values())
    p = tfpbnn.predict(model, X)
    np.testing.assert_allclose(p.outputs.sum(-1), 1, atol=1e-2)
    assert p.outputs.shape == (model.num_members, 5, 3)


def member_weights(packed, m):
    """Member m's of two, in the shapes of the plain network's layer."""
    found = []
    for value in packed.get_weights():
        part = value.shape[-1] // 2
        found.append(value[..., m * part : (m + 1) * part])
    return found


def weighted(layer):
    return layer.weights and not isinstance(layer, keras.Model)


def test_packed_equals_small_networks_run_by_hand():
    """With alpha as large as there are members, those are as the model."""
    base = cnn()
    packed = ensembles.to_packed_ensemble(base, 2, alpha=2)
    for variable in packed.weights:
        variable.assign_add(0.1 * np.random.uniform(size=variable.shape))
    draws = tfpbnn.predict(
        packed, X, likelihood=tfpbnn.likelihoods.Categorical()
    ).outputs
    with_weights = [layer for layer in packed.layers if weighted(layer)]
    plain = [layer for layer in base._flatten_layers() if weighted(layer)]
    assert len(with_weights) == len(plain) == 4
    for m in range(2):
        for layer, own in zip(with_weights, plain, strict=True):
            own.set_weights(member_weights(layer, m))
        expected = base.predict(X, verbose=0)
        np.testing.assert_allclose(draws[m], expected, rtol=1e-4, atol=1e-6)


def test_mimo_trains_each_output_on_its_own_rows():
    """What goes through unchanged has no loss, in whatever order it came."""
    inputs = keras.Input((3,))
    features, order = layers.JoinMembers(2, 0.4, 2)(inputs)
    outputs = layers.SplitMembers(2)(features, order)
    model = ensembles.MIMO(inputs, outputs)
    model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    with pytest.warns(UserWarning, match="no.*trainable weights"):
        logs = model.fit(x, x, batch_size=4, verbose=0).history
    assert logs["loss"] == logs["mae"] == [0.0]
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_masksembles_train_on_one_pass_of_the_batch():
    calls = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            calls.append(inputs.shape[0])
            return inputs

    inputs = keras.Input((8,))
    x = keras.layers.Dropout(0.5)(Spy()(inputs))
    base = keras.Model(inputs, keras.layers.Dense(1)(x))
    model = ensembles.to_masksembles(base, 2)
    assert [type(layer) for layer in model.layers[2:]] == [
        layers.Masksembles,
        keras.layers.Dense,
    ]
    np.testing.assert_array_equal(
        model.layers[-1].kernel, base.layers[-1].kernel
    )
    model.compile("sgd", "mse", run_eagerly=True)
    calls.clear()
    model.train_on_batch(np.ones((6, 8)), np.ones(6))
    model.predict_on_batch(np.ones((6, 8)))
    assert calls == [6, 12]


def test_several_outputs_keep_their_names():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, "relu")(inputs)
    outputs = [
        keras.layers.Dense(1, name="a")(x),
        keras.layers.Dense(2, "softmax", name="b")(x),
    ]
    base = keras.Model(inputs, outputs)
    losses = {"a": "mse", "b": "sparse_categorical_crossentropy"}
    base.compile("sgd", losses, run_eagerly=True)
    x, y = np.ones((5, 4)), {"a": np.ones(5), "b": np.ones(5)}
    for make in (MAKE["packed"], MAKE["mimo"]):
        model = make(base)
        assert model.output_names == ["a", "b"]
        model.train_on_batch(x, y)
        assert [v.shape for v in model.predict_on_batch(x)] == [
            (5, 1),
            (5, 2),
        ]


def test_layers_that_are_used_again_and_weights_that_stay():
    inputs = keras.Input((4,))
    relu, norm = keras.layers.ReLU(), keras.layers.BatchNormalization()
    x = relu(keras.layers.Dense(6)(relu(norm(inputs))))
    base = keras.Model(inputs, relu(keras.layers.Dense(2)(x)))
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    packed = MAKE["packed"](base)
    assert sum(type(x) is keras.layers.ReLU for x in packed.layers) == 1
    (again,) = (x for x in packed.layers if type(x) is type(norm))
    np.testing.assert_array_equal(again.moving_mean, norm.moving_mean)
    assert packed(np.ones((2, 4))).shape == (6, 2)


def test_models_in_the_model_may_have_layers_of_one_name():
    def block():
        hidden = keras.layers.Dense(4, "relu", name="hidden")
        return keras.Sequential([keras.Input((6, 4)), hidden])

    base = functional(block(), block(), keras.layers.Dense(1))
    for make in MAKE.values():
        model = make(base)
        assert {"hidden", "hidden_1"} <= {layer.name for layer in model.layers}


def functional(*hidden):
    inputs = keras.Input((6, 4))
    x = inputs
    for layer in hidden:
        x = layer(x)
    return keras.Model(inputs, x)


def test_bad_input():
    dense = keras.layers.Dense
    norm = keras.layers.LayerNormalization
    for hidden, match in [
        ((dense(4), norm(), dense(1)), r"LayerNorm.*would mix channels"),
        ((dense(4, name="d"), dense(4), norm()), None),
        ((dense(4), keras.layers.Softmax(), dense(1)), r"Softmax.*would mix"),
        ((keras.layers.LSTM(3),), r"outputs that come from dense"),
    ]:
        if match is None:
            ensembles.to_packed_ensemble(functional(*hidden), 2)
            continue
        with pytest.raises(ValueError, match=match):
            ensembles.to_packed_ensemble(functional(*hidden), 2)
    twice = dense(4)
    for make in (MAKE["packed"], MAKE["mimo"]):
        with pytest.raises(ValueError, match="Make two layers of it"):
            make(functional(twice, twice))
    for make in (ensembles.to_mimo, ensembles.to_packed_ensemble):
        with pytest.raises(
            ValueError, match=r"^`num_members` must be a positi"
        ):
            make(functional(dense(1)), 0)
    embedding = keras.Sequential(
        [keras.Input((3,), dtype="int32"), keras.layers.Embedding(4, 2)]
    )
    with pytest.raises(ValueError, match="one input, of floating-point"):
        ensembles.to_mimo(embedding, 2)
    with pytest.raises(ValueError, match="must have dropout, or a hidden"):
        ensembles.to_masksembles(functional(dense(1)), 2)
    for make in MAKE.values():
        with pytest.raises(TypeError, match="Functional or Sequential"):
            make(keras.Model())
