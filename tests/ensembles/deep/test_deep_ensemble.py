"""Deep ensembles, against their members fitted one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.checks import check_save
from tests.ensembles.deep.comparison import (
    FIT,
    assert_same,
    compiled,
    fitted_alone,
)
from tests.ensembles.deep.networks import CASES, LABELS, X, Y, differences, mlp
from tfpbnn.ensembles import DeepEnsemble

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.05),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.05),
    "decaying": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)
    ),
}


@pytest.mark.parametrize(
    ("case", "optimizer"),
    [
        *[("mlp", name) for name in OPTIMIZERS],
        ("cnn", "adam"),
        ("lstm", "sgd"),
    ],
)
def test_one_fit_is_the_fits_of_all_members(case, optimizer):
    build, x, y, loss = CASES[case]
    ensemble = DeepEnsemble(build, 2)
    ensemble.compile(OPTIMIZERS[optimizer](), loss=loss())
    before = list(ensemble.members)
    alone = list(ensemble.members)
    history = ensemble.fit(x, y, **FIT).history
    losses = [network.fit(x, y, **FIT).history["loss"] for network in alone]
    assert_same(ensemble, alone)
    np.testing.assert_allclose(
        history["loss"], np.mean(losses, axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        ensemble.member_history["loss"], np.transpose(losses), rtol=1e-5
    )
    for old, new in zip(before, ensemble.members, strict=True):
        assert differences(old, new) > 1e-3


def test_large_stacks_are_updated_in_one_pass():
    """Smooth, or rounding moves some of so many units across a kink."""

    def build():
        return mlp(width=2**14, activation="tanh")

    ensemble = compiled(build, 2)
    alone = fitted_alone(ensemble, X, Y)
    ensemble.fit(X, Y, **FIT)
    assert_same(ensemble, alone)


@pytest.mark.parametrize("member_batch", [1, 2])
def test_groups_in_a_loop(member_batch):
    ensemble = compiled(num_members=4, member_batch=member_batch)
    alone = fitted_alone(ensemble, X, Y)
    ensemble.fit(X, Y, **FIT)
    assert_same(ensemble, alone)
    found = ensemble.predict(X, verbose=0)
    expected = [network.predict(X, verbose=0) for network in alone]
    np.testing.assert_allclose(found, np.mean(expected, 0), atol=1e-5)


def test_members_differ_and_keep_what_is_not_trained():
    scale = keras.layers.Normalization()
    scale.adapt(X)
    inputs = keras.Input((4,))
    frozen = keras.layers.Dense(3, trainable=False)
    outputs = keras.layers.Dense(2)(frozen(scale(inputs)))
    model = keras.Model(inputs, outputs)
    first, second = DeepEnsemble(model, 2).members
    expected = model.get_weights()
    for network in (first, second):
        same = [
            np.array_equal(a, b)
            for a, b in zip(network.get_weights(), expected, strict=True)
        ]
        # mean, variance, count, frozen kernel and bias; kernel; zeros
        assert same == [True] * 5 + [False, True]
    assert differences(first, second) > 0.1


def test_data_in_other_forms():
    weights = np.linspace(0.5, 2, len(X))
    ensemble = compiled()
    alone = fitted_alone(
        ensemble, X, Y, sample_weight=weights, validation_split=0.2
    )
    ensemble.fit(X, Y, **FIT, sample_weight=weights, validation_split=0.2)
    assert_same(ensemble, alone)
    assert np.shape(ensemble.member_history["val_loss"]) == (2, 2)
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    alone = list(ensemble.members)
    for network in alone:
        network.fit(stream, epochs=1, verbose=0)
    fresh = DeepEnsemble.from_models(list(ensemble.members))
    fresh.fit(stream, epochs=1, verbose=0)
    assert_same(fresh, alone)


def test_class_weights_metrics_and_evaluate():
    build, x, y, loss = CASES["cnn"]
    ensemble = DeepEnsemble(build, 2)
    ensemble.compile("sgd", loss=loss(), metrics=["accuracy"])
    alone = list(ensemble.members)
    kwargs = FIT | {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}
    ensemble.fit(x, y, **kwargs)
    for network in alone:
        network.fit(x, y, **kwargs)
    assert_same(ensemble, alone)
    found = ensemble.evaluate(x, y, verbose=0, return_dict=True)
    expected = [
        network.evaluate(x, y, verbose=0, return_dict=True) for network in alone
    ]
    mean = np.mean([scores["loss"] for scores in expected])
    np.testing.assert_allclose(found["loss"], mean, rtol=1e-5)
    labels = ensemble.predict(x, verbose=0).argmax(-1)
    np.testing.assert_allclose(found["accuracy"], np.mean(labels == y))


def test_one_hot_labels_choose_the_metric_by_a_members_outputs():
    build, x, y, _ = CASES["cnn"]
    ensemble = DeepEnsemble(build, 2)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    ensemble.compile("sgd", loss=loss, metrics=["accuracy"])
    scores = ensemble.evaluate(x, np.eye(3)[y], verbose=0, return_dict=True)
    labels = np.mean([m.predict(x, verbose=0) for m in ensemble.members], 0)
    expected = np.mean(labels.argmax(-1) == LABELS)
    np.testing.assert_allclose(scores["accuracy"], expected, rtol=1e-6)


def test_several_outputs():
    inputs = keras.Input((4,))
    outputs = {"a": keras.layers.Dense(2, name="a")(inputs)}
    outputs["b"] = keras.layers.Dense(3, name="b")(inputs)
    model = keras.Model(inputs, outputs)
    loss = {
        "a": tfpbnn.likelihoods.Normal(),
        "b": tfpbnn.likelihoods.Categorical(),
    }
    ensemble = DeepEnsemble(model, 2)
    ensemble.compile("sgd", loss=loss)
    y = {"a": Y, "b": np.arange(len(X)) % 3}
    alone = list(ensemble.members)
    ensemble.fit(X, y, **FIT)
    for network in alone:
        network.fit(X, y, **FIT)
    assert_same(ensemble, alone)
    p = tfpbnn.predict(ensemble, X)
    assert p["b"].probabilities.shape == (50, 3)


def test_the_prediction_averages_over_members():
    ensemble = compiled(num_members=5)
    p = tfpbnn.predict(ensemble, X)
    assert p.num_samples == 5
    loc = np.stack([m.predict(X, verbose=0)[:, 0] for m in ensemble.members])
    np.testing.assert_allclose(p.mean[:, 0], loc.mean(0), atol=1e-5)
    np.testing.assert_allclose(
        p.epistemic_variance[:, 0], loc.var(0), atol=1e-5
    )
    with pytest.raises(ValueError, match="one network can stand for"):
        tfpbnn.predict(ensemble, X, draws="mean")


def test_members_that_draw():
    def build():
        return keras.Sequential(
            [keras.Input((4,)), tfpbnn.layers.DenseFlipout(2, name="out")]
        )

    ensemble = compiled(build, 2)
    ensemble.fit(X, Y, **FIT)  # no warning: it has set the KL's weight
    found = ensemble.members[0].get_layer("out").kl_weight
    np.testing.assert_allclose(found, 1 / len(X))
    callback = tfpbnn.callbacks.KLWeight(len(X), temperature=0.1)
    ensemble.fit(X, Y, **FIT, callbacks=[callback])
    found = ensemble.members[1].get_layer("out").kl_weight
    np.testing.assert_allclose(found, 0.1 / len(X), rtol=1e-6)
    p = tfpbnn.predict(ensemble, X, num_samples=400, seed=1)
    assert p.num_samples == 400
    for number, member in enumerate(ensemble.members):
        mean = tfpbnn.predict(member, X, draws="mean").outputs[0, :, 0]
        own = p.outputs[number::2, :, 0]
        z = (own.mean(0) - mean) / (own.std(0) / np.sqrt(200))
        assert np.abs(z).max() < 6  # false alarms: 50 * 2e-9 * 2


def test_save_in_a_fresh_process(tmp_path):
    ensemble = compiled(member_batch=1)
    ensemble.fit(X, Y, **FIT)
    check_save([(ensemble, X)], tmp_path)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    loaded.fit(X, Y, **FIT)  # from the optimizer's state
    ensemble.fit(X, Y, **FIT)
    assert_same(loaded, list(ensemble.members))


@keras.saving.register_keras_serializable("tests")
class Noisy(keras.layers.Layer):
    """A user's, with noise of TensorFlow's, whose seed is in the graph."""

    calls = 0

    def call(self, x, training=False):
        Noisy.calls += 1
        return x + tf.random.normal(tf.shape(x)) if training else x


@keras.saving.register_keras_serializable("tests")
class Plain(Noisy):
    def call(self, x, training=False):
        Plain.calls += training
        return x


@pytest.mark.filterwarnings("ignore:All members start at the same weights")
@pytest.mark.parametrize("layer", [Noisy, Plain])
def test_a_member_is_traced_once_unless_it_has_seeds(layer):
    keras.utils.set_random_seed(3)
    chain = [keras.Input((3,)), layer(), keras.layers.Dense(1)]
    ensemble = DeepEnsemble(keras.Sequential(chain), 4)
    ensemble.compile("sgd", "mse")
    x = np.ones((8, 3), "float32")
    start, layer.calls = ensemble.member_values(0), 0
    for number in range(4):
        ensemble.set_member_values(number, start)
    ensemble.fit(x, np.zeros(8), verbose=0)
    kernels = np.array([ensemble.member_values(i)[0] for i in range(4)])
    if layer is Plain:
        assert layer.calls <= 2
        np.testing.assert_allclose(kernels, kernels[:1].repeat(4, 0))
    else:
        spread = np.abs(kernels[:, None] - kernels[None]).max((2, 3))
        assert np.all(spread[~np.eye(4, dtype=bool)] > 1e-4)
