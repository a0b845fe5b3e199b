"""Models of BatchEnsemble and Rank-1 layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.ensembles.one_network.data import LOSS, cnn, digits, mlp, trained
from tfpbnn import layers
from tfpbnn.ensembles import BatchEnsemble, to_batch_ensemble, to_rank1
from tfpbnn.layers.kl import kl_terms

M = 3
X = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype("float32")


@pytest.fixture(scope="module")
def plain():
    return trained(lambda model: model)


@pytest.fixture(scope="module")
def ensemble():
    return trained(
        lambda model: to_batch_ensemble(
            model, M, fast_initializer="random_sign"
        )
    )


def test_fast_weights_of_one_equal_the_base_model():
    base = cnn()
    for variable in base.weights:  # BatchNorm's too
        variable.assign_add(0.1 * np.random.uniform(size=variable.shape))
    made = to_batch_ensemble(base, M, fast_initializer="ones")
    kinds = [type(layer).__name__ for layer in made._flatten_layers()]
    assert kinds.count("Conv2DBatchEnsemble") == 2
    assert kinds.count("DenseBatchEnsemble") == 1
    expected = base.predict(X, verbose=0)
    np.testing.assert_allclose(
        made.predict(X, verbose=0), expected, rtol=1e-4, atol=1e-6
    )
    draws = tfpbnn.predict(
        made, X, likelihood=tfpbnn.likelihoods.Categorical()
    ).outputs
    assert draws.shape == (M, *expected.shape)
    for draw in draws:
        np.testing.assert_allclose(draw, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="one network can stand for"):
        tfpbnn.predict(made, X, draws="mean", likelihood="mse")


def test_members_differ_and_score_better_than_one(plain, ensemble):
    _, _, x, y = digits()
    p = tfpbnn.predict(ensemble, x)
    assert p.num_samples == M
    assert np.abs(p.outputs[0] - p.outputs[1]).mean() > 0.1
    one = tfpbnn.evaluate(plain, x, y, draws="mean")
    assert p.evaluate(y)["nll"] < one["nll"]


def by_hand(ensemble, x):
    """Each member's outputs, from the layers' plain call, `[M, N, K]`."""
    y = ensemble(np.concatenate([x] * M))
    return np.reshape(y, (M, len(x), -1))


def test_predict_and_evaluate_are_of_the_mean(ensemble):
    _, _, x, y = digits()
    x, y = x[:101], y[:101]  # the last batch is a smaller one
    members = by_hand(ensemble, x)
    np.testing.assert_allclose(
        tfpbnn.predict(ensemble, x).outputs, members, atol=1e-4
    )
    mean = ensemble.predict(x, batch_size=32, verbose=0)
    np.testing.assert_allclose(mean, members.mean(0), atol=1e-4)
    weights = np.random.default_rng(0).uniform(size=101).astype("float32")
    found = ensemble.evaluate(
        x, y, batch_size=101, sample_weight=weights, verbose=0
    )
    np.testing.assert_allclose(
        found, LOSS(y, mean, sample_weight=weights), rtol=1e-4
    )


def test_the_training_loss_is_the_mean_of_the_members():
    x, y, _, _ = digits()
    x, y = x[:50], y[:50]
    model = to_batch_ensemble(mlp(), M, fast_initializer="random_sign")
    model.compile(
        keras.optimizers.SGD(0.0),
        LOSS,
        weighted_metrics=["accuracy"],
        jit_compile=False,
    )
    weights = np.random.default_rng(0).uniform(size=50).astype("float32")
    members = by_hand(model, x)
    expected = np.mean([LOSS(y, m, sample_weight=weights) for m in members])
    correct = members.mean(0).argmax(-1) == y
    accuracy = np.average(correct, weights=weights)
    dataset = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(50)
    class_weight = {k: float(k < 5) for k in range(10)}
    for kwargs in (
        {"x": dataset},
        {"x": x, "y": y, "sample_weight": weights, "batch_size": 50},
    ):
        logs = model.fit(**kwargs, verbose=0).history
        np.testing.assert_allclose(logs["loss"][-1], expected, rtol=1e-4)
        np.testing.assert_allclose(logs["accuracy"][-1], accuracy, rtol=1e-5)
    logs = model.fit(x, y, class_weight=class_weight, batch_size=50, verbose=0)
    low = np.mean([LOSS(y, m, sample_weight=y < 5) for m in members])
    np.testing.assert_allclose(logs.history["loss"][-1], low, rtol=1e-4)


def test_fit_takes_callbacks_validation_and_batches_that_do_not_fit(tmp_path):
    x, y, x_test, y_test = digits()
    model = to_rank1(mlp(), M)
    model.compile("adam", LOSS, metrics=["accuracy"], jit_compile=False)
    stop = keras.callbacks.EarlyStopping(min_delta=1e9, patience=1)
    history = model.fit(
        x[:100],
        y[:100],
        batch_size=64,
        epochs=5,
        validation_data=(x_test[:70], y_test[:70]),
        callbacks=[stop],
        verbose=0,
    ).history
    assert len(history["val_accuracy"]) == 2
    assert history["kl_weight"] == [1 / 100] * 2
    assert len(kl_terms(model)) == 6
    p = tfpbnn.predict(model, x_test[:20], num_samples=12, seed=0)
    assert p.num_samples == 12
    assert np.abs(p.outputs[0] - p.outputs[M]).max() > 0


def test_a_model_in_the_model_is_saved(tmp_path):
    path = tmp_path / "rank1.keras"
    model = to_rank1(cnn(), M)
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert type(loaded) is BatchEnsemble
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_inputs_and_outputs():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    shared = keras.layers.Dense(4, activation="relu")
    hidden = keras.layers.Concatenate()([shared(a), b])
    outputs = {"u": keras.layers.Dense(1)(hidden), "v": shared(a)}
    model = to_batch_ensemble(keras.Model({"a": a, "b": b}, outputs), M)
    assert isinstance(model, BatchEnsemble)
    assert model.num_members == M
    model.compile("adam", {"u": "mse", "v": "mse"}, jit_compile=False)
    x = {"a": np.ones((7, 3)), "b": np.ones((7, 2))}
    model.fit(x, {"u": np.ones(7), "v": np.ones((7, 4))}, verbose=0)
    found = model.predict(x, verbose=0)
    assert {k: v.shape for k, v in found.items()} == {"u": (7, 1), "v": (7, 4)}


def test_chosen_layers():
    base = mlp()
    made = to_batch_ensemble(base, M, "last")
    kinds = [type(layer) for layer in made.layers[1:]]
    assert kinds == [
        keras.layers.Dense,
        keras.layers.Dense,
        layers.DenseBatchEnsemble,
    ]
    lstm = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3)])
    for which in ("all", [lstm.layers[0].name]):
        with pytest.raises(ValueError, match=r"`layers` must.*LSTM"):
            to_batch_ensemble(lstm, M, which)
    with pytest.raises(ValueError, match="`num_members` must be a positive"):
        to_batch_ensemble(base, 0)
    with pytest.raises(TypeError, match="Functional or Sequential"):
        to_rank1(keras.Model(), M)
