"""How ensembles are trained: orders, weights, precision, stopping."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfpbnn
from tests.ensembles.deep.comparison import (
    FIT,
    assert_same,
    compiled,
    fitted_alone,
)
from tests.ensembles.deep.networks import X, Y, cnn, mlp
from tfpbnn.ensembles import DeepEnsemble, MemberEarlyStopping
from tfpbnn.ensembles.deep.feeds import MemberFeed


def test_bootstrap_weights_are_poisson():
    ensemble = compiled(num_members=5, bootstrap="poisson", seed=1)
    counts = ensemble.options.bootstrap_counts(4000, 5)
    expected = 20_000 * stats.poisson.pmf(range(6), 1)
    found = [(counts == k).sum() for k in range(6)]
    rest = 20_000 - sum(expected), 20_000 - sum(found)
    result = stats.chisquare([*found, rest[1]], [*expected, rest[0]])
    assert result.pvalue > 1e-6
    correlations = np.corrcoef(counts.T)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 5.5 / np.sqrt(4000)  # 10 * 4e-8


def test_bootstrap_is_a_fit_with_these_weights():
    ensemble = compiled(bootstrap="poisson", seed=3)
    alone = list(ensemble.members)
    weights = np.linspace(0.5, 2, len(X)).astype("float32")
    counts = ensemble.options.bootstrap_counts(len(X), 2) * weights[:, None]
    for number, network in enumerate(alone):
        network.fit(X, Y, sample_weight=counts[:, number], **FIT)
    ensemble.fit(X, Y, sample_weight=weights, **FIT)
    assert_same(ensemble, alone)


def test_validation_rows_are_the_last_and_unweighted():
    ensemble = compiled(bootstrap="poisson", seed=3)
    ensemble.fit(X, Y, validation_split=0.2, **(FIT | {"epochs": 1}))
    expected = [m.evaluate(X[40:], Y[40:], verbose=0) for m in ensemble.members]
    found = ensemble.member_history["val_loss"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_own_orders():
    feed = MemberFeed(
        X, Y, None, batch_size=16, shuffle=True, num_orders=3, seed=0
    )
    orders = []
    for _ in range(2):
        batches = [feed[i] for i in range(feed.num_batches)]
        assert batches[0][0].shape == (16, 3, 4)
        y = np.concatenate([batch[1] for batch in batches])
        assert np.array_equal(np.sort(y, axis=0), np.sort([Y] * 3).T)
        orders += list(y.T)
        feed.on_epoch_end()
    assert len({tuple(order) for order in orders}) == 6


def test_own_orders_are_fits_in_these_orders():
    ensemble = compiled(shuffle="own", seed=4)
    kwargs = FIT | {"epochs": 1}
    feed = MemberFeed(
        X, Y, None, batch_size=len(X), shuffle=True, num_orders=2, seed=4
    )
    feed.on_epoch_end()  # Keras has looked at the data, and begins anew.
    x, y = feed[0]
    alone = list(ensemble.members)
    for number, network in enumerate(alone):
        network.fit(x[:, number], y[:, number], **kwargs)
    ensemble.fit(X, Y, **(kwargs | {"shuffle": True}))
    assert_same(ensemble, alone)


def test_orders_and_weights_at_once_with_metrics():
    ensemble = DeepEnsemble(cnn, 2, shuffle="own", bootstrap="poisson", seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ensemble.compile("adam", loss=loss, weighted_metrics=["accuracy"])
    images, labels = np.zeros((40, 6, 6, 1), "float32"), np.zeros(40, int)
    history = ensemble.fit(images, labels, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    ensemble.use_layout("shared")
    stream = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    for data in (stream, iter(stream)):
        with pytest.raises(ValueError, match=r"need all rows.*Pass arrays"):
            ensemble.fit(data)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    ensemble = compiled()
    history = ensemble.fit(X, Y, **FIT).history
    assert history["loss"][1] < history["loss"][0]
    assert ensemble(X[:2]).dtype == policy.removeprefix("mixed_")
    assert ensemble.weights[0].dtype == "float32"


def test_norms_are_not_clipped_where_losses_are_scaled():
    keras.config.set_dtype_policy("mixed_float16")
    ensemble = compiled(optimizer=keras.optimizers.SGD(clipnorm=1.0))
    with pytest.raises(ValueError, match="SGD that clips, under mixed_float16"):
        ensemble.fit(X, Y, **FIT)


def test_norms_are_not_clipped_where_gradients_are_summed():
    optimizer = keras.optimizers.SGD(
        clipnorm=1.0, gradient_accumulation_steps=2
    )
    with pytest.raises(ValueError, match=r"steps=2\. Use `clipv"):
        compiled(optimizer=optimizer).fit(X, Y, **FIT)


def test_eager_steps():
    ensemble = compiled()
    alone = fitted_alone(ensemble, X, Y)
    ensemble.compile("adam", tfpbnn.likelihoods.Normal(), run_eagerly=True)
    ensemble.fit(X, Y, **FIT)
    assert_same(ensemble, alone, atol=1e-5)


def test_under_xla():
    ensemble = compiled()
    ensemble.compile("adam", loss=tfpbnn.likelihoods.Normal(), jit_compile=True)
    alone = fitted_alone(ensemble, X, Y)
    ensemble.fit(X, Y, **FIT)
    assert_same(ensemble, alone, atol=1e-5)


def test_early_stopping_of_each_member():
    ensemble = compiled(mlp, 2, keras.optimizers.Adam(0.1))
    alone = list(ensemble.members)
    stop = MemberEarlyStopping(patience=2, restore_best_weights=True)
    kwargs = FIT | {"epochs": 30, "validation_split": 0.4}
    ensemble.fit(X, Y, **kwargs, callbacks=[stop])
    assert len(set(stop.stopped_epochs)) > 1
    for number, network in enumerate(alone):
        own = keras.callbacks.EarlyStopping(
            patience=2, restore_best_weights=True
        )
        network.fit(X, Y, **kwargs, callbacks=[own])
        assert stop.stopped_epochs[number] == own.stopped_epoch
        assert stop.best_epochs[number] == own.best_epoch
    assert_same(ensemble, alone, atol=1e-5)


def several_inputs():
    """The numbers of X in two parts, and an index that nothing depends on."""
    inputs = [
        keras.Input((1,)),
        keras.Input((), dtype="int32"),
        keras.Input((3,)),
    ]
    zeros = keras.layers.Embedding(1, 4, "zeros", trainable=False)(inputs[1])
    x = keras.layers.Concatenate()([inputs[0], inputs[2]])
    y = keras.layers.Dense(1)(keras.layers.Add()([x, zeros]))
    return keras.Model(inputs, y)


@pytest.mark.parametrize("several", [False, True])
def test_adversarial_examples_against_numpy(several):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    x = X
    if several:
        model = several_inputs()
        x = [X[:, :1], np.zeros(len(X), "int32"), X[:, 1:]]
    ensemble = DeepEnsemble(model, 2, adversarial_epsilon=0.1)
    ensemble.compile(keras.optimizers.SGD(0.1), loss="mse")
    before = [m.layers[-1].get_weights() for m in ensemble.members]
    ensemble.fit(x, Y, batch_size=len(X), shuffle=False, verbose=0)
    for (kernel, bias), member in zip(before, ensemble.members, strict=True):
        residual = X @ kernel + bias - Y[:, np.newaxis]
        worse = X + 0.1 * np.sign(residual * kernel.T)
        moved = worse @ kernel + bias - Y[:, np.newaxis]
        slope = (X.T @ residual + worse.T @ moved) / len(X)
        np.testing.assert_allclose(
            member.layers[-1].get_weights()[0], kernel - 0.1 * slope, atol=1e-5
        )


def test_adversarial_examples_need_numbers_to_move():
    model = keras.Sequential(
        [keras.Input((), dtype="int32"), keras.layers.Embedding(2, 2)]
    )
    ensemble = DeepEnsemble(model, 2, adversarial_epsilon=0.1)
    ensemble.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"floating-point.*'int32'"):
        ensemble.fit(np.zeros(4, "int32"), np.zeros((4, 2)), verbose=0)


def test_optimizers_of_whole_tensors_train_members_one_by_one():
    ensemble = compiled(optimizer=keras.optimizers.Lamb())
    alone = fitted_alone(ensemble, X, Y)
    with pytest.warns(UserWarning, match="one after the other.*Lamb"):
        ensemble.fit(X, Y, **FIT)
    assert_same(ensemble, alone)


def test_summary_is_of_one_member(capsys):
    compiled().summary()
    assert "2 members like" in capsys.readouterr().out


@keras.saving.register_keras_serializable("tests")
class Halved(keras.Sequential):
    """A user's model with a loss of its own."""

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight) / 2


def halved():
    return Halved([keras.Input((4,)), keras.layers.Dense(2)])


def test_steps_of_the_members_own_are_taken():
    ensemble = compiled(halved, optimizer=keras.optimizers.SGD(0.01))
    alone = fitted_alone(ensemble, X, Y)
    with pytest.warns(UserWarning, match=r"after the other: Halved.*_loss"):
        ensemble.fit(X, Y, **FIT)
    assert_same(ensemble, alone)
    with pytest.raises(ValueError, match=r"Halved, which has.*compute_loss"):
        ensemble.evaluate(X, Y, verbose=0)
